use std::collections::HashMap;

use super::*;

fn read(pairs: &[(&str, &str)]) -> Result<(Config, Vec<String>), Vec<String>> {
    let map: HashMap<_, _> = pairs.iter().copied().collect();
    Config::read(&|name| map.get(name).map(|it| (*it).to_owned()), "host")
}

#[track_caller]
fn refused(name: &str, value: &str, sentence: &str) {
    assert_eq!(read(&[(name, value)]).unwrap_err(), [sentence]);
}

#[track_caller]
fn database(pairs: &[(&str, &str)]) -> Database {
    read(pairs).unwrap().0.database
}

#[test]
fn without_settings_the_store_is_embedded() {
    let (config, warnings) = read(&[]).unwrap();
    assert_eq!(config.database, Database::Sqlite("store.sqlite3".to_owned()));
    assert_eq!(config.redis, None);
    assert_eq!(config.listen.port(), 5000);
    assert!(warnings.is_empty());
}

/// Lesson 23: an empty or missing variable ended the program.
#[test]
fn an_empty_port_is_the_usual_port() {
    let url = "mysql://labo04:labo04@db:3306/labo04_db".to_owned();
    assert_eq!(database(&[("DB_HOST", "db"), ("DB_PORT", "")]), Database::Mysql(vec![url]));
}

#[test]
fn a_list_of_hosts_is_a_cluster() {
    let url = |place: &str| format!("mysql://u:p%40@{place}/shop?ssl-mode=DISABLED");
    let list = Database::Mysql(vec![url("a:1"), url("[::1]:2"), url("c")]);
    assert_eq!(database(&[("DATABASE_URL", &url("a:1,[::1]:2,c"))]), list);
    let url = |place: &str| format!("mysql://labo04:labo04@{place}/labo04_db");
    let list = Database::Mysql(vec![url("a:7"), url("b:3306")]);
    assert_eq!(database(&[("DB_HOST", "a:7, b")]), list);
}

#[test]
fn the_older_password_name_is_enough_and_any_password_works() {
    let url = "mysql://labo04:a%40b%3A%2F@127.0.0.1:3306/storedb".to_owned();
    assert_eq!(
        database(&[("DB_PASS", "a@b:/"), ("DB_NAME", "storedb\r")]),
        Database::Mysql(vec![url])
    );
    let (config, warnings) = read(&[("DB_PASS", "old"), ("DB_PASSWORD", "\"new\"")]).unwrap();
    assert_eq!(
        config.database,
        Database::Mysql(vec!["mysql://labo04:new@127.0.0.1:3306/labo04_db".to_owned()])
    );
    assert_eq!(warnings, ["DB_PASSWORD and DB_PASS differ: DB_PASSWORD is used"]);
}

#[test]
fn a_password_never_prints() {
    let (config, _) =
        read(&[("DB_PASS", "s3cret"), ("REDIS_URL", "redis://me:s3cret@h/0")]).unwrap();
    let text = format!("{config:?}");
    assert!(!text.contains("s3cret"), "{text}");
}

#[test]
fn bad_values_are_refused_in_one_sentence_each() {
    refused("DB_PORT", "abc", "DB_PORT=\"abc\": not a port number (1-65535)");
    refused(
        "STORE_REPORTS",
        "redis",
        "STORE_REPORTS=\"redis\": not one of redis_cache, redis_scan, mysql (did you mean redis_cache?)",
    );
    refused(
        "DATABASE_URL",
        "postgres://a:b@c/d",
        "DATABASE_URL: scheme \"postgres\" is not supported (mysql, mariadb, sqlite)",
    );
    refused(
        "STORE_REPORT_TTL",
        "soon",
        "STORE_REPORT_TTL=\"soon\": not a duration (60, 60s, 500ms, 5m, 24h)",
    );
}

#[test]
fn all_bad_variables_are_listed_at_once() {
    let refusals =
        read(&[("DB_PORT", "x"), ("STORE_STOCK", "y"), ("STORE_MAX_BODY", "z")]).unwrap_err();
    assert_eq!(refusals.len(), 3);
}

#[test]
fn every_stage_runs_without_a_redis() {
    for stage in ["1", "2", "3", "4", "5"] {
        let (config, warnings) = read(&[("STORE_STAGE", stage)]).unwrap();
        assert!(config.stage.walks() && warnings.is_empty(), "{stage}: {warnings:?}");
    }
}

#[test]
fn a_preset_lifts_the_limits_and_a_switch_overrides_it() {
    let (config, _) =
        read(&[("STORE_STAGE", "1"), ("STORE_LOOKUP", "in_list"), ("REDIS_HOST", "r")]).unwrap();
    assert_eq!(config.stage.lookup, Lookup::InList);
    assert_eq!(config.stage.connections, Connections::PerCall);
    assert_eq!((config.limits.timeout, config.limits.in_flight), (None, None));
}

#[test]
fn an_unknown_name_is_answered_with_the_known_one() {
    let names = ["STORE_REPORT", "STORE_LOG", "HOME"];
    assert_eq!(
        sources::unknown(names.into_iter()),
        ["STORE_REPORT is not known (did you mean STORE_REPORTS?)"]
    );
}

#[test]
fn a_dotenv_file_with_carriage_returns_is_read() {
    let values =
        sources::dotenv("# lab\r\nDB_HOST=mysql\r\nexport DB_PORT=\r\nDB_PASS=\"x y\"\r\n");
    assert_eq!(values["DB_HOST"], "mysql");
    assert_eq!(values["DB_PORT"], "");
    assert_eq!(values["DB_PASS"], "\"x y\"");
}
