//! The check of rows, without disk and threads: JSON lines in, columns or refusals out.

use criterion::BenchmarkId;
use criterion::Criterion;
use criterion::Throughput;
use milepost::ingest::CheckOptions;
use milepost::ingest::Checker;
use milepost::person::Persons;
use milepost::schema::Registry;

use crate::data;
use crate::store;

/// About two megabytes.
const EVENTS: u64 = 7_000;

pub(crate) fn run(criterion: &mut Criterion) {
    let checker = Checker::new(&Registry::new(store::definitions()), CheckOptions::default());
    let mut known = Persons::default();
    for (person, identifiers) in data::persons(EVENTS) {
        known.add(person, identifiers);
    }
    let good = data::lines(&data::events(EVENTS, 1));
    // Refused at the last moment: each row ends with a property that no definition has.
    let bad = good.replace("}\n", ",\"colour\":\"red\"}\n");

    let mut group = criterion.benchmark_group("validate");
    for (name, lines, persons, accepted) in [
        ("known_persons", &good, &known, EVENTS),
        ("new_persons", &good, &Persons::default(), EVENTS),
        ("all_refused", &bad, &known, 0),
    ] {
        let check = || checker.check_chunk(lines.as_bytes(), "bench", 1, persons).unwrap();
        let checked = check();
        assert_eq!(checked.rows, EVENTS);
        assert_eq!(u64::try_from(checked.accepted()).unwrap(), accepted, "{:?}", checked.rejections.first());
        let bytes = u64::try_from(lines.len()).unwrap();
        group.throughput(Throughput::ElementsAndBytes { elements: EVENTS, bytes });
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| bencher.iter(check));
    }
    group.finish();
}
