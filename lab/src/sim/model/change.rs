//! What follows when a server fails, recovers or changes?

use super::{Model, State, WARM_STEPS};
use crate::sim::{
    Fate,
    agenda::{NEVER, What},
    clock,
    tally::End,
};

impl Model<'_> {
    pub(super) fn change(&mut self, position: usize) {
        let change = &self.plan.changes[position];
        self.tally.changed(self.now, &change.servers);
        for &server in &change.servers {
            match change.what {
                Fate::Down => self.crash(server),
                Fate::Up(ramp) => {
                    let was_down = self.states[server].down;
                    self.states[server] =
                        State { reported: self.states[server].reported, ..State::default() };
                    let cold = was_down && 0.0 < ramp;
                    self.warm(server, if cold { 1 } else { WARM_STEPS });
                    for step in 2..=WARM_STEPS {
                        if cold {
                            let after = ramp * f64::from(step - 1) / f64::from(WARM_STEPS - 1);
                            let at = self.now + clock::nanos(after);
                            self.agenda.plan(at, What::Warm { server, step });
                        }
                    }
                }
                Fate::Speed(speed) => self.set_speed(server, speed),
                Fate::Errors(share, after) => self.states[server].errors = Some((share, after)),
                Fate::Silent => self.states[server].silent = true,
                Fate::Leave | Fate::Join => {
                    let left = change.what == Fate::Leave;
                    self.balancers.iter_mut().for_each(|it| it.set_left(server, left));
                }
                Fate::Weight(weight) => {
                    self.balancers.iter_mut().for_each(|it| it.set_weight(server, weight));
                }
            }
        }
    }

    pub(super) fn warm(&mut self, server: usize, step: u32) {
        let whole = self.plan.servers[server].speed;
        self.set_speed(server, whole * f64::from(step) / f64::from(WARM_STEPS));
    }

    fn set_speed(&mut self, server: usize, speed: f64) {
        self.servers[server].set_speed(self.now, speed);
        self.ends.set(server, self.servers[server].next_end());
    }

    fn crash(&mut self, server: usize) {
        self.states[server].down = true;
        let worked = 0 < self.servers[server].present();
        let lost = self.servers[server].crash();
        self.tally.works(server, self.now, worked, false);
        self.ends.set(server, NEVER);
        for slot in lost {
            self.attempts[slot as usize].on_server = false;
            if self.attempts[slot as usize].live {
                self.fail(slot, End::Lost);
            } else {
                self.free.push(slot);
            }
        }
    }
}
