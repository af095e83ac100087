//! What follows when an attempt ends?

use std::time::Duration;

use policy::Event;

use super::{Attempt, Model};
use crate::sim::tally::End;

impl Model<'_> {
    /// An attempt failed: the next server, if there may be one.
    pub(super) fn fail(&mut self, slot: u32, why: End) {
        let total = Duration::from_nanos(self.now - self.attempts[slot as usize].picked);
        self.release(slot, Event::Failure { head: None, total });
        let attempt = self.attempts[slot as usize];
        let patience = self.plan.patience;
        let live = u32::try_from(self.tally.live).unwrap_or(u32::MAX);
        let was_retry = u32::from(1 < attempt.tries);
        let affordable =
            patience.budget.is_none_or(|it| self.retrying - was_retry < it.limit(live));
        if patience.retries < attempt.tries || !affordable {
            self.give_up(slot, why);
            return;
        }
        self.tally.run.retries += 1;
        self.retrying += 1 - was_retry;
        let tried = self.tried.get(slot as usize).copied();
        self.leave_slot(slot);
        let again = self.seat(Attempt { on_server: false, ..attempt });
        if let (Some(tried), Some(place)) = (tried, self.tried.get_mut(again as usize)) {
            *place = tried;
        }
        self.dispatch(again);
    }

    /// The balancer counts an attempt out.
    pub(super) fn release(&mut self, slot: u32, event: Event) {
        let Attempt { balancer, server, .. } = self.attempts[slot as usize];
        let (server, now) = (server as usize, self.time());
        self.present[server] -= 1;
        self.see(balancer, server, false);
        let again = self.balancers[balancer as usize].release(server, event, now);
        self.judge_later(balancer, server, again);
    }

    /// The request is over for its client.
    pub(super) fn give_up(&mut self, slot: u32, end: End) {
        let Attempt { number, arrived, balancer, tries, .. } = self.attempts[slot as usize];
        self.retrying -= u32::from(1 < tries);
        self.tally.end(number, arrived, self.now, end);
        self.leave_slot(slot);
        self.wake_user();
        self.serve_waiting(balancer as usize);
    }

    pub(super) fn leave_slot(&mut self, slot: u32) {
        let attempt = &mut self.attempts[slot as usize];
        attempt.live = false;
        attempt.generation += 1;
        if !attempt.on_server {
            self.free.push(slot);
        }
    }

    /// Places who waited longest, if anybody may be picked now.
    pub(super) fn serve_waiting(&mut self, balancer: usize) {
        let waiting = self.balancers[balancer].waiting.len();
        if 0 < waiting
            && let Some(slot) = self.balancers[balancer].waiting.pop_front()
        {
            self.dispatch(slot);
            // Nobody could be picked: it goes back to where it stood.
            if self.balancers[balancer].waiting.len() == waiting {
                self.balancers[balancer].waiting.rotate_right(1);
            }
        }
    }
}
