//! Three operators, one lease, and everything that can go wrong between them: never two that write.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use darwinlm_operator::lease::{BootTime, Contender, Settings, Step};
use k8s_openapi::{api::coordination::v1::Lease, jiff::Timestamp};
use proptest::prelude::*;

/// One step of the simulation, in milliseconds of true time.
const STEP: u64 = 50;
/// Faults begin before this, and have all ended 40 s later.
const FAULTS: u64 = 90_000;
/// Long enough after the last fault for somebody to lead again.
const END: u64 = 200_000;

#[derive(Clone, Debug)]
enum Kind {
    /// The process stands still: SIGSTOP, a suspended machine.
    Pause,
    /// Nothing gets through either way; what was sent arrives afterwards, or never.
    Partition { late: bool },
    /// Another process starts in its place.
    Kill,
    /// Somebody puts a label on the lease: a new version without a renewal.
    Label,
}

#[derive(Clone, Debug)]
struct Fault {
    at: u64,
    operator: usize,
    lasts: u64,
    kind: Kind,
}

fn fault() -> impl Strategy<Value = Fault> {
    let kind = prop_oneof![
        Just(Kind::Pause),
        any::<bool>().prop_map(|late| Kind::Partition { late }),
        Just(Kind::Kill),
        Just(Kind::Label),
    ];
    (0..FAULTS, 0..3_usize, 100..40_000_u64, kind).prop_map(|(at, operator, lasts, kind)| Fault {
        at,
        operator,
        lasts,
        kind,
    })
}

/// The API server's part: one object, and of two writes for one version only the first.
#[derive(Default)]
struct Server {
    lease: Option<Lease>,
    version: u64,
}

impl Server {
    fn write(&mut self, mut lease: Lease) -> Option<Lease> {
        let stored = self.lease.as_ref().map(|lease| &lease.metadata);
        let version = stored.and_then(|metadata| metadata.resource_version.clone());
        if lease.metadata.resource_version != version {
            return None;
        }
        self.version += 1;
        lease.metadata.resource_version = Some(self.version.to_string());
        self.lease = Some(lease.clone());
        Some(lease)
    }

    fn label(&mut self) {
        if let Some(lease) = self.lease.clone() {
            self.write(lease);
        }
    }
}

/// What is on its way, and of which attempt.
enum Letter {
    Get,
    Got(Option<Lease>),
    Put {
        lease: Lease,
        sent: BootTime,
    },
    Done {
        lease: Option<Lease>,
        sent: BootTime,
    },
}

struct Mail {
    arrives: u64,
    operator: usize,
    attempt: u64,
    letter: Letter,
}

struct Operator {
    contender: Contender,
    offset: u64,
    permille: u64,
    attempt: u64,
    /// The attempt under way began then; none is under way otherwise.
    began: Option<BootTime>,
    next: BootTime,
    stands_until: u64,
    alone_until: u64,
    late: bool,
}

impl Operator {
    fn now(&self, time: u64) -> BootTime {
        BootTime::after_boot(Duration::from_millis(
            self.offset + time * self.permille / 1000,
        ))
    }

    fn writes(&self, time: u64) -> bool {
        let claim = self.contender.claim();
        claim.is_some_and(|claim| claim.permits(self.now(time)))
    }
}

struct World {
    settings: Settings,
    server: Server,
    operators: Vec<Operator>,
    mail: Vec<Mail>,
    started: usize,
    delay: u64,
}

impl World {
    fn new(clocks: &[(u64, u64)], delay: u64) -> Self {
        let settings = Settings::new(15, 10, 2).unwrap();
        let mut world = Self {
            settings,
            server: Server::default(),
            operators: Vec::new(),
            mail: Vec::new(),
            started: 0,
            delay,
        };
        for (offset, permille) in clocks {
            let contender = world.contender();
            let operator = Operator {
                contender,
                offset: *offset,
                permille: *permille,
                attempt: 0,
                began: None,
                next: BootTime::after_boot(Duration::ZERO),
                stands_until: 0,
                alone_until: 0,
                late: false,
            };
            world.operators.push(operator);
        }
        world
    }

    fn contender(&mut self) -> Contender {
        self.started += 1;
        Contender::new("lease".to_owned(), self.started.to_string(), self.settings)
    }

    /// A new process: it knows nothing, and no answer to the old one reaches it.
    fn restart(&mut self, index: usize, time: u64) {
        let contender = self.contender();
        let operator = &mut self.operators[index];
        operator.contender = contender;
        operator.attempt += 1;
        operator.began = None;
        operator.next = operator.now(time) + Duration::from_secs(1);
        operator.stands_until = 0;
    }

    fn strike(&mut self, fault: &Fault, time: u64) {
        let until = time + fault.lasts;
        let operator = &mut self.operators[fault.operator];
        match fault.kind {
            Kind::Pause => operator.stands_until = until,
            Kind::Partition { late } => {
                operator.alone_until = until;
                operator.late = late;
            }
            Kind::Kill => self.restart(fault.operator, time),
            Kind::Label => self.server.label(),
        }
    }

    fn send(&mut self, index: usize, time: u64, letter: Letter) {
        let operator = &self.operators[index];
        let mut arrives = time + self.delay;
        if time < operator.alone_until {
            if !operator.late {
                return;
            }
            arrives = operator.alone_until + self.delay;
        }
        self.mail.push(Mail {
            arrives,
            operator: index,
            attempt: operator.attempt,
            letter,
        });
    }

    fn deliver(&mut self, mail: Mail, time: u64) {
        let Mail {
            operator: index,
            attempt,
            letter,
            ..
        } = mail;
        match letter {
            Letter::Get => {
                let lease = self.server.lease.clone();
                self.answer(index, attempt, time, Letter::Got(lease));
            }
            Letter::Put { lease, sent } => {
                let lease = self.server.write(lease);
                self.answer(index, attempt, time, Letter::Done { lease, sent });
            }
            // An answer that nobody waits for any more is lost.
            Letter::Got(_) | Letter::Done { .. } if attempt != self.operators[index].attempt => {}
            Letter::Got(lease) => self.look(index, lease, time),
            Letter::Done { lease, sent } => {
                let operator = &mut self.operators[index];
                let now = operator.now(time);
                if let Some(lease) = lease {
                    operator.contender.won(lease, sent, now);
                }
                self.rest(index, time);
            }
        }
    }

    fn answer(&mut self, index: usize, attempt: u64, time: u64, letter: Letter) {
        if time >= self.operators[index].alone_until {
            self.mail.push(Mail {
                arrives: time + self.delay,
                operator: index,
                attempt,
                letter,
            });
        }
    }

    fn look(&mut self, index: usize, lease: Option<Lease>, time: u64) {
        let operator = &mut self.operators[index];
        let now = operator.now(time);
        operator.contender.see(lease, now);
        match operator.contender.step(now) {
            Step::Wait => self.rest(index, time),
            Step::Take | Step::Renew => {
                // A wall clock that stands: nothing may depend on it.
                let lease = operator.contender.bid(Timestamp::UNIX_EPOCH);
                self.send(index, time, Letter::Put { lease, sent: now });
            }
        }
    }

    /// The attempt is over; the next one later.
    fn rest(&mut self, index: usize, time: u64) {
        let retry = self.settings.retry();
        let operator = &mut self.operators[index];
        operator.attempt += 1;
        operator.began = None;
        operator.next = operator.now(time) + retry;
    }

    fn act(&mut self, index: usize, time: u64) {
        let attempt = self.settings.attempt();
        let operator = &mut self.operators[index];
        let now = operator.now(time);
        if operator.contender.lost(now).is_some() {
            self.restart(index, time);
        } else if operator
            .began
            .is_some_and(|began| now.since(began) >= attempt)
        {
            self.rest(index, time);
        } else if operator.began.is_none() && now >= operator.next {
            operator.began = Some(now);
            self.send(index, time, Letter::Get);
        }
    }

    fn step(&mut self, time: u64) {
        let stands = |world: &Self, index: usize| time < world.operators[index].stands_until;
        let (due, later) = std::mem::take(&mut self.mail)
            .into_iter()
            .partition(|mail| {
                let for_a_process = matches!(mail.letter, Letter::Got(_) | Letter::Done { .. });
                mail.arrives <= time && !(for_a_process && stands(self, mail.operator))
            });
        self.mail = later;
        let due: Vec<Mail> = due;
        for mail in due {
            self.deliver(mail, time);
        }
        for index in 0..self.operators.len() {
            if !stands(self, index) {
                self.act(index, time);
            }
        }
    }

    fn writers(&self, time: u64) -> usize {
        let writers = self
            .operators
            .iter()
            .filter(|operator| operator.writes(time));
        writers.count()
    }
}

proptest! {
    #[test]
    fn never_two_operators_write_and_in_the_end_one_does(
        // Clocks that began at different times, and run up to 5 % too slow or too fast.
        clocks in prop::collection::vec((0..1_000_000_u64, 950..=1050_u64), 3),
        faults in prop::collection::vec(fault(), 0..10),
        delay in 1..900_u64,
    ) {
        let mut world = World::new(&clocks, delay);
        let mut led = false;
        for time in (0..END).step_by(usize::try_from(STEP).unwrap()) {
            for fault in faults.iter().filter(|fault| (time..time + STEP).contains(&fault.at)) {
                world.strike(fault, time);
            }
            world.step(time);
            let writers = world.writers(time);
            led |= writers == 1;
            prop_assert!(writers <= 1, "{} operators may write at {} ms", writers, time);
        }
        prop_assert!(led, "nobody ever led");
        prop_assert_eq!(world.writers(END - STEP), 1, "nobody leads in the end");
    }
}

/// The simulation sees what it is there to see: a holder whose clock runs at less than half speed
/// writes on after the others have taken over. No margin is made for that.
#[test]
fn a_clock_that_is_far_too_slow_is_noticed_by_this_simulation() {
    let mut world = World::new(&[(0, 400), (0, 1600), (0, 1600)], 10);
    let cut_off = Fault {
        at: 5_000,
        operator: 0,
        lasts: 40_000,
        kind: Kind::Partition { late: false },
    };
    let most = (0..60_000)
        .step_by(usize::try_from(STEP).unwrap())
        .map(|time| {
            if time == cut_off.at {
                world.strike(&cut_off, time);
            }
            world.step(time);
            world.writers(time)
        });
    assert_eq!(most.max(), Some(2));
}
