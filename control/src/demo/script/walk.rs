//! The first part: one device, one user, from boot to the login screen again.

use super::{super::verdict::Verdict, World, bare};
use crate::daemon::ipc::{State, Status};
use crate::world::{
    Stopped,
    probe::Question,
    scene::{Account, Traffic},
    setup::{ALICE, NON_IDENTITY, Person, RULES, block_echo},
    swaps::{inner, moment},
};
use crossbeam_channel::bounded;
use reqwest::Method;
use std::{
    io,
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};

/// Longest wait for a step of the walk.
const STEP: Duration = Duration::from_secs(15);
/// "At once": far below any time-out, far above a busy machine's hiccups.
const AT_ONCE: Duration = Duration::from_millis(500);
/// A changed rule closes live flows within this.
const WITHIN: Duration = Duration::from_secs(1);

/// Runs the first part. Returns the control run's account and the walk's.
pub(super) fn run(world: &mut World<'_>, verdict: &mut Verdict) -> Result<(Account, Account), Stopped> {
    let inner = before_login(world, verdict)?;
    let control = control_run(world, inner)?;
    world.timeline.note("the load keeps running from here on");
    let mut load = world.scene.load(inner, world.amount, 1)?;
    login(world, verdict, &mut *load, inner)?;
    rules(world, verdict)?;
    let account = load.finish()?;
    world.tell(&account);
    deleted(world, verdict)?;
    Ok((control, account))
}

fn before_login(world: &mut World<'_>, verdict: &mut Verdict) -> Result<IpAddr, Stopped> {
    let timeline = world.timeline;
    timeline.chapter("Before login");
    let status = world.device.until_identity(NON_IDENTITY, STEP)?;
    let Some(inner) = inner(&status) else { return Err(Stopped::Missing("inner address")) };
    world.scene.addressed(inner);
    world.amount.mtu = status.mtu.unwrap_or(1280);
    timeline.note(format_args!("enrolled by service token; connected as {NON_IDENTITY}, inner address {inner}"));
    verdict.check("before login, traffic is", NON_IDENTITY, true);

    let directory = world.scene.ask(Question::Directory)?;
    timeline.note(format_args!("the directory server answers: {directory}"));
    verdict.check("before login, the directory server answers", &directory, directory.answered());
    let web = world.scene.ask(Question::Web)?;
    timeline.note(format_args!("the intranet's web server: {web}"));
    verdict.check("before login, the intranet is refused at once", &web, web.refused() && web.took < AT_ONCE);
    verdict.number("denied_before_login_ms", web.milliseconds());
    Ok(inner)
}

fn control_run(world: &mut World<'_>, inner: IpAddr) -> Result<Account, Stopped> {
    let seconds = world.options.control;
    world.timeline.note(format_args!(
        "control run of {seconds} s without swaps: {} UDP packets/s and {} Mb/s TCP, each way",
        world.amount.rate, world.amount.tcp_rate
    ));
    let mut load = world.scene.load(inner, world.amount, 0)?;
    bare::quiet(&mut *load, seconds)?;
    let account = load.finish()?;
    world.tell(&account);
    Ok(account)
}

fn login(world: &mut World<'_>, verdict: &mut Verdict, load: &mut dyn Traffic, before: IpAddr) -> Result<(), Stopped> {
    let timeline = world.timeline;
    timeline.chapter("A user logs on");
    thread::sleep(Duration::from_secs(1));
    world.device.session(&format!("logon {} 1", ALICE.user))?;
    timeline.note(format_args!("{} logs on to the operating system", ALICE.user));
    let held = world.device.until("a sign-in prompt", STEP, |status| status.auth_url.is_some())?;
    timeline.note(format_args!("hold: traffic stays {}", held.identity.as_deref().unwrap_or("nobody's")));
    thread::sleep(Duration::from_millis(500));
    let directory = world.scene.ask(Question::Directory)?;
    let web = world.scene.ask(Question::Web)?;
    let holds = held.identity.as_deref() == Some(NON_IDENTITY) && directory.answered() && web.refused();
    verdict.check("until the user has authenticated, pre-login holds", holds_text(holds), holds);

    sign_in(world, &held, &ALICE)?;
    timeline.note(format_args!("{} authenticates in the gateway's login form", ALICE.email));
    let status = world.device.until_identity(ALICE.email, STEP)?;
    timeline.note(format_args!("commit: traffic is {}", ALICE.email));
    verdict.check("after login, traffic is", ALICE.email, true);
    let after = inner(&status);
    let kept = after == Some(before);
    let shown = after.map_or_else(|| "none".to_owned(), |after| format!("{before} -> {after}"));
    verdict.check("the inner address is kept", shown, kept);
    verdict.number("inner_address_kept", kept);
    let committed = moment(&world.device.status()?)?;
    thread::sleep(Duration::from_millis(60));
    let gap = load.measure_gap(committed)?.unwrap_or(0) / 1000;
    timeline.note(format_args!("largest gap between packets around the commit: {gap} µs"));
    let received = load.stream()?.received;
    let given_up = Instant::now() + STEP;
    // Half a second's worth, and on a busy machine the first of it that comes.
    let (later, moved) = loop {
        thread::sleep(Duration::from_millis(500));
        let later = load.stream()?;
        let moved = later.received.saturating_sub(received);
        if moved > 0 || Instant::now() >= given_up {
            break (later, moved);
        }
    };
    let lives = later.connected && moved > 0 && later.resets == 0 && later.mismatched == 0;
    timeline.note(format_args!("the TCP connection from before login lives: {moved} more bytes, all as sent"));
    verdict.check(
        "the TCP connection from before login lives",
        format!("{} MB so far", later.received / 1_000_000),
        lives,
    );
    let web = world.scene.ask(Question::Web)?;
    timeline.note(format_args!("the intranet's web server: {web}"));
    verdict.check("after login, the intranet answers", &web, web.answered());
    Ok(())
}

fn holds_text(holds: bool) -> &'static str {
    if holds { "directory answers, intranet refused" } else { "it does not" }
}

/// Somebody logs in at the device.
fn sign_in(world: &World<'_>, status: &Status, person: &Person) -> Result<(), Stopped> {
    crate::world::swaps::sign_in(&*world.scene, &world.gateway, status, person)
}

fn rules(world: &mut World<'_>, verdict: &mut Verdict) -> Result<(), Stopped> {
    let timeline = world.timeline;
    timeline.chapter("The rules change under load");
    let (opened, stands) = bounded(1);
    let watched = world.scene.watch(Duration::from_secs(5), opened)?;
    let stands = stands.recv_timeout(Duration::from_secs(5)).is_ok();
    timeline.note(if stands { "a connection to the echo server talks" } else { "no connection to the echo server" });
    let rule = world.admin.make(RULES, block_echo(), "id")?;
    let changed = Instant::now();
    timeline.note("the administrator blocks its port");
    let closed = watched.recv().unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()));
    let (shown, passed) = match closed {
        Ok(Some(closed)) => {
            let took = closed.at.saturating_duration_since(changed);
            (format!("after {} ms: {}", took.as_millis(), closed.how), took < WITHIN && stands)
        }
        Ok(None) => ("still open after 5 s".to_owned(), false),
        Err(error) => (format!("it never opened: {error}"), false),
    };
    timeline.note(format_args!("the live connection is closed {shown}"));
    verdict.check("a new rule closes a live flow within 1 s", shown, passed);
    let refused = world.scene.ask(Question::Echo)?;
    verdict.check("a new connection is refused at once", &refused, refused.refused() && refused.took < AT_ONCE);

    world.admin.call(Method::DELETE, &format!("{RULES}/{rule}"), None)?;
    timeline.note("the administrator takes the rule back");
    let again =
        eventually(Duration::from_secs(2), || Ok(Some(world.scene.ask(Question::Echo)?).filter(|o| o.answered())))?;
    verdict.check("without the rule, it connects again", if again.is_some() { "yes" } else { "no" }, again.is_some());
    Ok(())
}

/// Asks again until there is an answer or patience ends.
pub(super) fn eventually<T>(
    patience: Duration,
    mut ask: impl FnMut() -> Result<Option<T>, Stopped>,
) -> Result<Option<T>, Stopped> {
    let until = Instant::now() + patience;
    loop {
        let answer = ask()?;
        if answer.is_some() || Instant::now() > until {
            return Ok(answer);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn deleted(world: &mut World<'_>, verdict: &mut Verdict) -> Result<(), Stopped> {
    let timeline = world.timeline;
    timeline.chapter("The user's registration is deleted");
    let Some(registration) = world.device.status()?.registration else {
        return Err(Stopped::Missing("active registration"));
    };
    world.admin.call(Method::DELETE, &format!("devices/registrations/{registration}"), None)?;
    let deleted = Instant::now();
    timeline.note("the administrator deletes it");
    let down = world.device.until("down, and a prompt", STEP, |status| {
        status.state == State::Prompting && status.identity.is_none() && status.auth_url.is_some()
    });
    let took = deleted.elapsed();
    let shown = match &down {
        Ok(_) => format!("after {} ms", took.as_millis()),
        Err(error) => crate::causes::chain(error),
    };
    timeline.note(format_args!("the device is down and prompts: {shown}"));
    verdict.check("registration deleted: down and prompting within 1 s", shown, down.is_ok() && took < WITHIN);
    let directory = world.scene.ask(Question::Directory)?;
    verdict.check("registration deleted: nothing answers", &directory, !directory.answered());

    world.device.session("logoff 1")?;
    timeline.note(format_args!("{} logs off", ALICE.user));
    world.device.until_identity(NON_IDENTITY, STEP)?;
    let directory = world.scene.ask(Question::Directory)?;
    let web = world.scene.ask(Question::Web)?;
    timeline.note(format_args!("pre-login again: the directory server answers, the intranet: {web}"));
    let again = directory.answered() && web.refused();
    verdict.check("after log-off, pre-login again", holds_text(again), again);
    Ok(())
}
