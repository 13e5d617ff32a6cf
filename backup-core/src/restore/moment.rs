//! The moment that a restore gives to the names of what it sets aside.

use chrono::TimeDelta;

use super::parts::Candidate;
use crate::component::Look;
use crate::names::timestamp;

/// Now, to the second; or the first second after it that nothing beside what is live is called by. Two restores
/// of something small may begin in one second, and the clock may have been set back.
pub(super) async fn free(candidates: &[Candidate], look: &mut Look<'_>) -> String {
    let mut time = look.context.now();
    loop {
        let moment = timestamp(time);
        let mut is_taken = false;
        for component in candidates.iter().filter_map(Candidate::component) {
            is_taken |= component.is_taken(&moment, look).await;
        }
        if !is_taken {
            return moment;
        }
        time += TimeDelta::seconds(1);
    }
}
