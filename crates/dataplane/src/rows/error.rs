// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Why rows are not made.

/// Why rows are not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowsError {
    /// More members than the pool declares.
    #[error("{members} members in a pool of at most {max_backends}")]
    TooManyMembers {
        /// Members given.
        members: usize,
        /// Members declared.
        max_backends: u32,
    },
    /// Ranking would take too long.
    #[error("{rows} rows of {members} members need {scores} scores, more than {max}", max = super::SCORES_MAX)]
    TooLarge {
        /// Rows of the pool.
        rows: u32,
        /// Members given.
        members: usize,
        /// Their product.
        scores: u64,
    },
    /// Id 0 means "no backend".
    #[error("member `{name}` has id 0")]
    IdZero {
        /// Name of the member.
        name: String,
    },
    /// Two members have one id.
    #[error("two members have id {id}")]
    DuplicateId {
        /// The id.
        id: u16,
    },
    /// Two members have one name.
    #[error("two members are called `{name}`")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// A base weight of zero; a member that shall have no flows drains.
    #[error("member `{name}` has weight 0")]
    WeightZero {
        /// Name of the member.
        name: String,
    },
    /// A cap above the whole weight.
    #[error("member `{name}` has a cap of {cap_permille}/1000")]
    CapTooLarge {
        /// Name of the member.
        name: String,
        /// The cap.
        cap_permille: u16,
    },
    /// The ranking was made for other names, weights or enabled members.
    #[error("the ranking was made for other members")]
    OtherMembers,
}
