//! Which database and which cache does a run use?
//!
//! A private MariaDB and a private Redis in temporary folders, on free ports of 127.0.0.1, which
//! end with their guards. `TEST_DATABASE_URL` and `TEST_REDIS_URL` point elsewhere when set. A
//! server of the system is never touched.

mod cluster;
mod galera;
mod mariadb;
mod place;
mod redis;
mod sentinel;

pub use cluster::RedisCluster;
pub use galera::Galera;
pub use mariadb::MariaDb;
pub use redis::Redis;
pub use sentinel::Sentinels;
