//! The vendor's own flowchart (rows S1-S7 and M1-M7, as published), as a second oracle: who carries traffic at rest.
//! Written from the vendor's rows alone; it knows nothing of the machine, its states or our decisions.
//!
//! Where the vendor is silent it says so. Where the machine departs, the row of ours that says why must be in the list.

use super::world::*;
use crate::registration::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

const USERS: [&str; 3] = ["alice", "bob", "carol"];

/// Who carries traffic, by the vendor's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Token,
    Of(usize),
    Nobody,
    /// Nobody: a user is at the desktop and has not signed in.
    Prompted,
    /// The documents do not say; ours to decide, by this row.
    Silent(&'static str),
}

/// The vendor's client.
struct Vendor {
    multi_user: bool,
    pre_login: bool,
    /// Single-user: whose registration the machine has.
    machine: Option<usize>,
    /// Multi-user: who has one.
    registered: BTreeSet<usize>,
    desktop: Option<usize>,
    logged_on: BTreeSet<usize>,
    /// Who was at a desktop last.
    previous: Option<usize>,
    /// Who was logged on when a registration was deleted, and has not signed in since.
    bereft: BTreeSet<usize>,
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Boot,
    Logon(usize),
    Logoff(usize),
    Switch(usize),
    SignIn,
    Delete,
}

impl Vendor {
    fn new(multi_user: bool, pre_login: bool) -> Self {
        Self {
            multi_user,
            pre_login,
            machine: None,
            registered: BTreeSet::new(),
            desktop: None,
            logged_on: BTreeSet::new(),
            previous: None,
            bereft: BTreeSet::new(),
        }
    }

    /// Whether this can happen now.
    fn possible(&self, op: Op) -> bool {
        match op {
            Op::Boot => true,
            Op::Logon(user) => !self.logged_on.contains(&user),
            Op::Logoff(user) => self.logged_on.contains(&user),
            Op::Switch(user) => self.logged_on.contains(&user) && self.desktop != Some(user),
            Op::SignIn => self.word() == Word::Prompted,
            Op::Delete => matches!(self.word(), Word::Of(_)),
        }
    }

    fn happens(&mut self, op: Op) {
        match op {
            Op::Boot => {
                self.desktop = None;
                self.logged_on.clear();
            }
            Op::Logon(user) | Op::Switch(user) => {
                self.logged_on.insert(user);
                self.desktop = Some(user);
                self.previous = Some(user);
            }
            Op::Logoff(user) => {
                self.logged_on.remove(&user);
                self.desktop.take_if(|desktop| *desktop == user);
            }
            Op::SignIn => {
                let Some(user) = self.desktop else { return };
                self.bereft.remove(&user);
                if self.multi_user {
                    self.registered.insert(user);
                } else {
                    self.machine = Some(user);
                }
            }
            Op::Delete => {
                let Word::Of(user) = self.word() else { return };
                if self.multi_user {
                    self.registered.remove(&user);
                    // M5 carries a user who is not there: nobody stays behind the login screen then.
                    if self.logged_on.contains(&user) {
                        self.bereft.insert(user);
                    }
                } else {
                    self.machine = None;
                    self.bereft.extend(&self.logged_on);
                }
            }
        }
    }

    fn word(&self) -> Word {
        match (self.desktop, self.multi_user) {
            // S5, S7.
            (_, false) if self.machine.is_some() => Word::Of(self.machine.unwrap()),
            // S6 knows one user, who logs off; not one who stays logged on behind the login screen.
            (None, _) if !self.bereft.is_disjoint(&self.logged_on) => Word::Silent("D9"),
            // S1, S2.
            (None, false) => {
                if self.pre_login {
                    Word::Token
                } else {
                    Word::Nobody
                }
            }
            // S3.
            (Some(_), false) => Word::Prompted,
            // M4.
            (None, true) if self.pre_login => Word::Token,
            // M5.
            (None, true) => match self.previous {
                Some(user) if self.registered.contains(&user) => Word::Of(user),
                // "Stays registered as the previous user", who never was, or is no longer.
                Some(_) => Word::Silent("D17"),
                None => Word::Nobody,
            },
            // M6.
            (Some(user), true) if self.registered.contains(&user) => Word::Of(user),
            // M1, M7.
            (Some(_), true) => Word::Prompted,
        }
    }
}

/// The machine, brought to rest after every event.
fn at_rest(world: &mut World) {
    loop {
        match world.machine.state() {
            state if state.enrolment.is_some() => drop(world.enrolled()),
            state if state.tunnel.next.is_some() => drop(world.comes_up()),
            _ => return,
        }
    }
}

fn tell(world: &mut World, op: Op, word: Word) {
    match (op, word) {
        (Op::Boot, _) => drop(world.boot()),
        (Op::Logon(user), _) => drop(world.logon(USERS[user])),
        (Op::Logoff(user), _) => drop(world.logoff(USERS[user])),
        (Op::Switch(user), _) => drop(world.switch_to(USERS[user])),
        (Op::SignIn, _) => {
            let user = world.prompt().user.0;
            world.signs_in(&user);
        }
        (Op::Delete, Word::Of(user)) => {
            let id = world.id_of(&mail(USERS[user]));
            world.deleted(id);
        }
        (Op::Delete, other) => panic!("nothing to delete under {other:?}"),
    }
    at_rest(world);
}

/// Runs both side by side. The answer: the rows by which the machine departed, and those where the vendor is silent.
fn side_by_side(settings: Settings, ops: &[Op]) -> (BTreeSet<&'static str>, BTreeSet<&'static str>) {
    let mut vendor = Vendor::new(settings.multi_user, settings.pre_login.is_some());
    let mut world = World::new(settings);
    world.boot();
    at_rest(&mut world);
    let (mut departures, mut silences) = (BTreeSet::new(), BTreeSet::new());
    for op in ops {
        if !vendor.possible(*op) {
            continue;
        }
        tell(&mut world, *op, vendor.word());
        vendor.happens(*op);
        let ours = world.carrying();
        match vendor.word() {
            Word::Token => assert_eq!(ours, TOKEN, "{op:?} of {ops:?}"),
            Word::Of(user) => assert_eq!(ours, mail(USERS[user]), "{op:?} of {ops:?}"),
            Word::Prompted if ours == TOKEN => drop(departures.insert("D1")),
            Word::Nobody | Word::Prompted => assert_eq!(ours, "nothing", "{op:?} of {ops:?}"),
            Word::Silent(row) => {
                silences.insert(row);
                // Ours to decide, but never the traffic of somebody whose registration is gone, or who is not there.
                assert!(ours == "nothing" || ours == TOKEN, "{ours} at {op:?} of {ops:?}");
            }
        }
        assert_eq!(
            vendor.word() == Word::Prompted,
            world.machine.state().prompt.is_some() && !matches!(vendor.word(), Word::Silent(_)),
            "{op:?} of {ops:?}"
        );
    }
    (departures, silences)
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        1 => Just(Op::Boot),
        4 => (0usize..3).prop_map(Op::Logon),
        3 => (0usize..3).prop_map(Op::Logoff),
        3 => (0usize..3).prop_map(Op::Switch),
        4 => Just(Op::SignIn),
        1 => Just(Op::Delete),
    ]
}

/// Every configuration that the vendor has, with this hold.
fn configurations(hold: Hold) -> impl Strategy<Value = Settings> {
    let all = [pre_login(), user_only(), multi(pre_login()), multi(user_only())];
    prop::sample::select(all.map(|settings| Settings { pre_login_hold: hold, ..settings }).to_vec())
}

fn runs() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, cases: 600, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(runs())]

    #[test]
    fn with_the_vendor_s_hold_the_machine_does_what_the_vendor_s_flowchart_says(
        settings in configurations(Hold::Cut),
        ops in prop::collection::vec(op(), 1..40),
    ) {
        let (departures, silences) = side_by_side(settings, &ops);
        prop_assert!(departures.is_empty(), "{:?}", departures);
        prop_assert!(silences.iter().all(|row| ["D9", "D17"].contains(row)), "{:?}", silences);
    }

    #[test]
    fn as_it_comes_the_machine_departs_from_the_vendor_s_flowchart_by_d1_alone(
        settings in configurations(Hold::UntilAuthenticated),
        ops in prop::collection::vec(op(), 1..40),
    ) {
        let (departures, _) = side_by_side(settings, &ops);
        prop_assert!(departures.iter().all(|row| *row == "D1"), "{:?}", departures);
    }
}

#[test]
fn the_flowchart_is_walked_in_every_part() {
    use Op::*;
    let cut = |settings| Settings { pre_login_hold: Hold::Cut, ..settings };
    let none = BTreeSet::new;
    // S1 to S5, S7, S6.
    let single =
        [Logon(0), SignIn, Logoff(0), Boot, Logon(1), Logoff(1), Logon(0), Delete, Logoff(0), Logon(0), SignIn];
    assert_eq!(side_by_side(cut(pre_login()), &single), (none(), none()));
    assert_eq!(side_by_side(pre_login(), &single), (["D1"].into(), none()));
    assert_eq!(side_by_side(user_only(), &single), (none(), none()));
    // M2 to M7.
    let multiple = [
        Logon(0),
        Logoff(0),
        Logon(0),
        Switch(0),
        SignIn,
        Logon(1),
        Switch(0),
        Switch(1),
        SignIn,
        Switch(0),
        Logoff(0),
        Logoff(1),
        Logon(1),
    ];
    assert_eq!(side_by_side(multi(cut(pre_login())), &multiple), (none(), none()));
    assert_eq!(side_by_side(multi(pre_login()), &multiple), (["D1"].into(), none()));
    assert_eq!(side_by_side(multi(user_only()), &multiple), (none(), ["D17"].into()));
}
