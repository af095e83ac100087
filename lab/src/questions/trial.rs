//! Which runs answer the nine questions? Many of them share a run.

use serde::{Deserialize, Serialize};

/// One way to run the shop under the lab's load.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Trial {
    /// What rows call it.
    pub(super) name: &'static str,
    /// Replicas behind the balancer.
    pub(super) replicas: usize,
    /// Variables of the store.
    pub(super) variables: Vec<(&'static str, String)>,
    /// The ids that orders use: `hot` or `wide`.
    pub(super) profile: &'static str,
}

/// What the words in the names of runs mean, in English and in French.
pub(super) const WORDS: &[(&str, &str, &str)] = &[
    (
        "stage 1",
        "a price query for each line of an order, reports from MySQL, a walk through all keys of Redis (SCAN) \
         after each order, a new database connection for each piece of work",
        "une requête de prix par ligne de commande, rapports depuis MySQL, un parcours de toutes les clés de Redis \
         (SCAN) après chaque commande, une nouvelle connexion à la base pour chaque travail",
    ),
    ("stage 2", "one price query per order", "une seule requête de prix par commande"),
    (
        "stage 3",
        "and reports reckoned from all orders in Redis",
        "et des rapports calculés à partir de toutes les commandes dans Redis",
    ),
    (
        "stage 4",
        "and reports kept in Redis for a minute",
        "et des rapports gardés une minute dans Redis",
    ),
    (
        "targeted",
        "the walk after an order is left out: only the stock of what was ordered is written",
        "sans le parcours après une commande : seul le stock de ce qui est commandé est écrit",
    ),
    (
        "pool",
        "database connections are kept and used again",
        "les connexions à la base sont gardées et réutilisées",
    ),
    ("fixed", "stage 4, targeted and with the pool", "stage 4, avec targeted et pool"),
    ("N+1", "a price query for each line of an order", "une requête de prix par ligne de commande"),
    ("IN list", "one price query per order", "une seule requête de prix par commande"),
    (
        "scan",
        "the walk through all keys of Redis after each order",
        "le parcours de toutes les clés de Redis après chaque commande",
    ),
    (
        "wide",
        "orders name all products and customers, otherwise the first two as in the lab",
        "les commandes portent sur tous les produits et clients, sinon sur les deux premiers comme dans le labo",
    ),
];

/// The runs of E1 to E3 and E5 to E7.
pub(super) fn trials() -> Vec<Trial> {
    let stage = |it: &str| vec![("STORE_STAGE", it.to_owned())];
    let with = |it: &str, more: &[(&'static str, &str)]| {
        let mut all = stage(it);
        all.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        all
    };
    let trial = |name, replicas, variables| Trial { name, replicas, variables, profile: "hot" };
    let targeted = ("STORE_STOCK_SYNC", "targeted");
    let pool = ("STORE_CONNECTIONS", "pool");
    vec![
        trial("stage 1", 1, stage("1")),
        trial("stage 2", 1, stage("2")),
        trial("stage 3", 1, stage("3")),
        trial("stage 4", 1, stage("4")),
        trial("stage 4, targeted", 1, with("4", &[targeted])),
        trial("stage 4, targeted, pool", 1, with("4", &[targeted, pool])),
        trial("fixed", 1, stage("fixed")),
        trial("fixed, N+1", 1, with("fixed", &[("STORE_LOOKUP", "n_plus_one")])),
        Trial { profile: "wide", ..trial("fixed, wide", 1, stage("fixed")) },
        trial("stage 4, 2 replicas", 2, stage("4")),
        trial("stage 4, 3 replicas", 3, stage("4")),
        trial("fixed, 2 replicas", 2, stage("fixed")),
        trial("fixed, 3 replicas", 3, stage("fixed")),
    ]
}

/// The stores of E4: what an order costs by its lines and by what the shop holds.
pub(super) fn order_costs() -> Vec<Trial> {
    let of = |name, lookup: &str, sync: &str| Trial {
        name,
        replicas: 1,
        variables: vec![
            ("STORE_STAGE", "fixed".to_owned()),
            ("STORE_LOOKUP", lookup.to_owned()),
            ("STORE_STOCK_SYNC", sync.to_owned()),
        ],
        profile: "wide",
    };
    vec![
        of("IN list, targeted", "in_list", "targeted"),
        of("N+1, targeted", "n_plus_one", "targeted"),
        of("IN list, scan", "in_list", "scan"),
        of("N+1, scan", "n_plus_one", "scan"),
    ]
}

/// How much is run.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Size {
    pub(super) users: u32,
    /// Of the ramp, which is not counted.
    pub(super) ramp: f64,
    pub(super) seconds: f64,
    pub(super) reps: u64,
    /// Users, products and orders in the shop.
    pub(super) volume: (u32, u32, u32),
    /// Products of E4.
    pub(super) products: Vec<u32>,
    /// Lines per order of E4.
    pub(super) lines: Vec<u32>,
    /// Orders that are timed for one point of E4.
    pub(super) orders: u32,
    /// Requests per second of E8.
    pub(super) rate: f64,
}

impl Size {
    /// Less than a quarter of an hour.
    pub(super) fn quick() -> Self {
        Self {
            users: 20,
            ramp: 2.0,
            seconds: 6.0,
            reps: 3,
            volume: (100, 500, 500),
            products: vec![500, 5_000],
            lines: vec![1, 20],
            orders: 10,
            rate: 60.0,
        }
    }

    /// What the contract asks for.
    pub(super) fn full() -> Self {
        Self {
            users: 150,
            ramp: 75.0,
            seconds: 120.0,
            reps: 5,
            volume: (1_000, 10_000, 80_000),
            products: vec![10_000, 100_000, 1_000_000],
            lines: vec![1, 2, 5, 20, 100],
            orders: 60,
            rate: 120.0,
        }
    }
}

/// What rows call the lab's load.
pub(super) fn load_name(size: &Size) -> String {
    format!("{} users", size.users)
}

/// What rows call a point of E4.
pub(super) fn cost_name(products: u32, lines: u32) -> String {
    format!("{products} products, {lines} lines")
}
