//! When a run is looked at again.

use std::time::Duration;

use kube::runtime::controller::Action;

/// What a look leaves behind. Of kube's own type nobody can tell what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextLook {
    /// After so long, or earlier if something changes.
    In(Duration),
    /// When something changes.
    OnChange,
}

impl From<NextLook> for Action {
    fn from(next: NextLook) -> Self {
        match next {
            NextLook::In(wait) => Self::requeue(wait),
            NextLook::OnChange => Self::await_change(),
        }
    }
}
