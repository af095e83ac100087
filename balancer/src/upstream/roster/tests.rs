//! Groups whose servers and policy change while requests run.

use std::net::SocketAddr;

use policy::{Event, Request, Time};

use super::*;
use crate::upstream::{Backend, Lease, Tried};

fn address(port: u16) -> Address {
    Address::Inet(SocketAddr::from(([10, 0, 0, 1], port)))
}

fn group(ports: &[u16]) -> Upstream {
    Upstream::passing("u", &ports.iter().map(|it| address(*it)).collect::<Vec<_>>())
}

fn pick(group: &Upstream, second: u64) -> Lease<'_> {
    group.pick(&Request::at(Time::from_secs(second)), &Tried::default(), None).unwrap()
}

/// The ports that so many requests go to, one after the other.
fn picks(group: &Upstream, count: usize) -> Vec<u16> {
    let port = |it: &Backend| it.name.rsplit(':').next().unwrap().parse().unwrap();
    (0..count).map(|_| port(&pick(group, 100).backend)).collect()
}

fn add(group: &Upstream, port: u16) -> Result<u32, Refused> {
    let added = group.add(&address(port), Terms::default(), Binding::default());
    added.map(|it| it.backend.id())
}

#[test]
fn a_server_that_is_added_serves_at_once_and_the_others_keep_their_place() {
    let group = group(&[1, 2]);
    assert_eq!(picks(&group, 1), [1]);
    assert_eq!(add(&group, 3), Ok(2));
    assert_eq!(picks(&group, 3), [2, 3, 1]);
    assert_eq!(add(&group, 2), Err(Refused::Known));
}

#[test]
fn a_server_that_is_removed_finishes_what_it_has() {
    let group = group(&[1, 2]);
    let running = pick(&group, 100);
    assert_eq!(running.backend.name, "10.0.0.1:1");
    group.remove(&address(1)).unwrap();
    assert_eq!(group.remove(&address(1)), Err(Refused::Unknown));
    assert_eq!(picks(&group, 2), [2, 2]);
    let shown = group.servers();
    assert_eq!((shown.len(), shown[1].binding.drain), (2, true));
    assert_eq!(shown[1].backend.in_flight(), 1);
    drop(running);
    assert_eq!(group.servers().len(), 1);
}

#[test]
fn a_server_that_comes_back_while_it_leaves_is_the_same() {
    let group = group(&[1, 2]);
    let running = pick(&group, 100);
    group.remove(&address(1)).unwrap();
    assert_eq!(add(&group, 1), Ok(0));
    let back = group.find(&address(1)).unwrap();
    assert!(Arc::ptr_eq(&back.backend, &running.backend));
    assert_eq!((back.binding.drain, group.servers().len()), (false, 2));
    drop(running);
    assert_eq!(back.backend.in_flight(), 0);
}

#[test]
fn numbers_are_not_given_twice() {
    let group = group(&[1, 2]);
    group.remove(&address(1)).unwrap();
    assert_eq!(add(&group, 3), Ok(2));
    assert_eq!(group.numbered(2).unwrap().backend.name, "10.0.0.1:3");
    assert!(group.numbered(0).is_none());
}

#[test]
fn what_is_edited_holds_at_once() {
    let group = group(&[1, 2]);
    let weight = Some(NonZeroU32::new(3).unwrap());
    group.edit(&address(1), &Edit { weight, ..Edit::default() }).unwrap();
    assert_eq!(picks(&group, 4).iter().filter(|it| **it == 1).count(), 3);
    group.edit(&address(1), &Edit { drain: Some(true), ..Edit::default() }).unwrap();
    assert_eq!(picks(&group, 2), [2, 2]);
    let still = group.find(&address(1)).unwrap();
    assert_eq!((still.terms.weight.get(), still.binding.drain), (3, true));
    group.edit(&address(2), &Edit { down: Some(true), ..Edit::default() }).unwrap();
    assert!(group.pick(&Request::at(Time::ZERO), &Tried::default(), None).is_none());
    let max_conns = Some(NonZeroU32::new(1));
    let open = Edit { drain: Some(false), max_conns, ..Edit::default() };
    group.edit(&address(1), &open).unwrap();
    let running = pick(&group, 100);
    assert!(group.pick(&Request::at(Time::ZERO), &Tried::default(), None).is_none());
    drop(running);
    let backup = Edit { backup: Some(true), down: Some(false), ..Edit::default() };
    group.edit(&address(2), &backup).unwrap();
    assert_eq!(picks(&group, 2), [1, 1]);
    assert_eq!(group.edit(&address(9), &Edit::default()).unwrap_err(), Refused::Unknown);
}

#[test]
fn failures_are_remembered_over_changes() {
    let group = group(&[1, 2]);
    pick(&group, 100).finish(Event::FAILURE, Time::from_secs(100));
    add(&group, 3).unwrap();
    assert_eq!(picks(&group, 4), [2, 3, 2, 3]);
}

/// A group whose one line is a name that leads to these ports.
fn named(ports: &[u16]) -> (Upstream, impl Fn(&[u16]) -> Vec<Spot>) {
    let spots = |ports: &[u16]| {
        ports.iter().map(|it| Spot::plain([10, 0, 0, 1].into(), *it)).collect::<Vec<_>>()
    };
    let group = group(&[]);
    let place = Place::Named { name: "a".to_owned(), port: 0, spots: spots(ports), lookup: None };
    let member = Member { place, ..Member::fixed(7, address(0)) };
    group.roster().members.push(member);
    group.enter(7, &spots(ports));
    (group, spots)
}

#[test]
fn what_an_operator_asked_for_outlasts_the_next_answer() {
    let (group, spots) = named(&[1, 2]);
    group.edit(&address(1), &Edit { drain: Some(true), ..Edit::default() }).unwrap();
    group.remove(&address(2)).unwrap();
    add(&group, 9).unwrap();
    group.enter(7, &spots(&[1, 2, 3]));
    assert_eq!(picks(&group, 2), [3, 9]);
    // One of a name that is added again is there as its name has it.
    add(&group, 2).unwrap();
    group.enter(7, &spots(&[1, 2]));
    assert_eq!(picks(&group, 2), [2, 9]);
    group.enter(7, &spots(&[1]));
    assert_eq!(picks(&group, 2), [9, 9]);
}

#[test]
fn another_policy_places_the_next_request() {
    let group = group(&[1, 2]);
    let busy = pick(&group, 100);
    assert_eq!(busy.backend.name, "10.0.0.1:1");
    group.set_policy(&["least_conn"]).unwrap();
    assert_eq!(group.policy().id, "nginx-least-conn");
    assert_eq!(picks(&group, 3), [2, 2, 2]);
    // The request of the policy before ends as one of its own.
    busy.finish(Event::FAILURE, Time::from_secs(100));
    assert_eq!(group.find(&address(1)).unwrap().backend.in_flight(), 0);
    group.set_policy(&["hash", "$request_uri", "consistent"]).unwrap();
    assert!(group.key.load().is_some());
    group.set_policy(&[]).unwrap();
    assert!(group.key.load().is_none());
}

#[test]
fn a_policy_that_does_not_fit_changes_nothing() {
    let group = group(&[1, 2]);
    assert_eq!(group.set_policy(&["leastconn"]), Err(Refused::Policy(0)));
    let unknown = group.set_policy(&["hash", "$no_such_variable"]);
    assert!(matches!(unknown, Err(Refused::Key(_))), "{unknown:?}");
    group.edit(&address(2), &Edit { backup: Some(true), ..Edit::default() }).unwrap();
    assert_eq!(group.set_policy(&["ip_hash"]), Err(Refused::Parameter("backup")));
    assert_eq!(group.policy().id, "nginx-rr");
    group.remove(&address(2)).unwrap();
    group.set_policy(&["ip_hash"]).unwrap();
    let backup = Edit { backup: Some(true), ..Edit::default() };
    assert_eq!(group.edit(&address(1), &backup).unwrap_err(), Refused::Parameter("backup"));
}
