//! What does one pick cost, for each policy and each size of a list?
//!
//! The list is as a busy balancer sees it: a few requests in flight everywhere, weights from 1 to 3,
//! one server in 16 not eligible. A pick is measured with the candidates at hand; filling them in is
//! the caller's cost.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use policy::{CATALOG, Candidate, Draw, Event, Identity, Request, SplitMix64, Time};

const SIZES: [u32; 6] = [3, 16, 64, 256, 1000, 10_000];

fn candidates(len: u32) -> Vec<Candidate> {
    let mut draw = SplitMix64::new(u64::from(len));
    let mut candidate = |number: u32| {
        let weight = NonZeroU32::new(1 + number % 3).unwrap();
        let in_flight = u32::try_from(draw.below(4)).unwrap();
        let mut candidate = Candidate::new(weight, in_flight);
        candidate.eligible = number % 16 != 5;
        let address = format!("10.{}.{}.{}:80", number >> 16, number >> 8 & 255, number & 255);
        candidate.identity = Identity::new(&address, &address);
        candidate
    };
    (0..len).map(&mut candidate).collect()
}

fn pick(criterion: &mut Criterion) {
    for entry in CATALOG {
        let mut group = criterion.benchmark_group(entry.id);
        group.sample_size(20);
        group.warm_up_time(Duration::from_millis(100));
        group.measurement_time(Duration::from_millis(300));
        for len in SIZES {
            let candidates = candidates(len);
            let mut policy = (entry.build)(&[]).unwrap();
            let mut draw = SplitMix64::new(1);
            let answer = Event::success(Duration::from_millis(20));
            policy.pick(&Request::at(Time::ZERO), &candidates, &mut draw);
            for position in 0..candidates.len() {
                policy.learn(position, answer, Time::ZERO);
            }
            group.bench_function(BenchmarkId::from_parameter(len), |bencher| {
                bencher.iter(|| {
                    let bits = draw.bits().to_le_bytes();
                    let client = Ipv4Addr::new(bits[0], bits[1], bits[2], 1);
                    let request = Request::at(Time::from_secs(1))
                        .with_key(&bits)
                        .from_client(IpAddr::V4(client));
                    black_box(policy.pick(&request, black_box(&candidates), &mut draw))
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, pick);
criterion_main!(benches);
