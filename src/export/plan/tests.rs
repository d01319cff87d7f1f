use proptest::prelude::*;

use super::*;
use crate::error::Kind;
use crate::export::testing::Event;
use crate::export::testing::Store;
use crate::export::testing::definition;
use crate::time::MICROS_PER_DAY;

fn range(start_milli: i64, end_milli: i64) -> TimeRange {
    TimeRange { start: Micros(start_milli * 1_000), end: Micros(end_milli * 1_000) }
}

/// Files as (start, end, part, milliseconds of the rows), through a splitter that is fed day by day.
fn split(days: &[&[i64]], range: TimeRange, most: usize) -> Vec<(FileSpan, Vec<i64>)> {
    let mut splitter = Splitter::new(range, most);
    let mut open = Vec::new();
    let mut files = Vec::new();
    for (nth, day) in days.iter().enumerate() {
        for piece in splitter.day(day.len(), |at| day[at], nth + 1 == days.len()) {
            open.extend_from_slice(&day[piece.rows]);
            if let Some(span) = piece.closes {
                files.push((FileSpan { closes: true, ..span }, std::mem::take(&mut open)));
            }
        }
    }
    if let Some(span) = splitter.finish() {
        files.push((span, open));
    }
    files
}

fn span(start: i64, end: i64, part: usize) -> FileSpan {
    FileSpan { start, end, part, closes: true }
}

#[test]
fn as_many_rows_as_a_file_may_have_are_one_file_of_the_whole_range() {
    assert_eq!(split(&[&[1, 2, 3]], range(0, 9), 3), [(span(0, 9, 1), vec![1, 2, 3])]);
}

#[test]
fn fifty_thousand_rows_are_one_file_and_one_more_are_two() {
    let rows: Vec<i64> = (0..50_001).collect();
    let lengths = |rows: &[i64]| {
        let files = split(&[rows], range(0, 60_000), ExportLimits::default().rows_per_file);
        files.iter().map(|(_, rows)| rows.len()).collect::<Vec<_>>()
    };
    assert_eq!(lengths(&rows[..50_000]), [50_000]);
    assert_eq!(lengths(&rows), [50_000, 1]);
}

#[test]
fn one_row_more_opens_a_second_file_where_the_first_one_ends() {
    assert_eq!(
        split(&[&[1, 2, 3, 5]], range(0, 9), 3),
        [(span(0, 5, 1), vec![1, 2, 3]), (span(5, 9, 1), vec![5])]
    );
}

#[test]
fn a_millisecond_is_not_cut_when_it_fits_into_the_next_file() {
    assert_eq!(
        split(&[&[1, 2, 2, 2]], range(0, 9), 3),
        [(span(0, 2, 1), vec![1]), (span(2, 9, 1), vec![2, 2, 2])]
    );
}

#[test]
fn a_millisecond_that_no_file_can_hold_is_cut_into_parts() {
    assert_eq!(
        split(&[&[1, 2, 2, 2, 2, 2, 7]], range(0, 9), 2),
        [
            (span(0, 2, 1), vec![1]),
            (span(2, 3, 1), vec![2, 2]),
            (span(2, 3, 2), vec![2, 2]),
            (span(2, 3, 3), vec![2]),
            (span(3, 9, 1), vec![7]),
        ]
    );
    assert_eq!(split(&[&[4, 4, 4]], range(0, 9), 2), [(span(0, 9, 1), vec![4, 4]), (span(0, 9, 2), vec![4])]);
}

#[test]
fn a_file_goes_on_over_midnight() {
    assert_eq!(
        split(&[&[1, 2], &[], &[10, 10, 11]], range(0, 20), 3),
        [(span(0, 10, 1), vec![1, 2]), (span(10, 20, 1), vec![10, 10, 11])]
    );
    assert_eq!(split(&[&[1], &[10]], range(0, 20), 3), [(span(0, 20, 1), vec![1, 10])]);
}

#[test]
fn no_rows_are_no_file() {
    assert_eq!(split(&[], range(0, 9), 3), []);
    assert_eq!(split(&[&[]], range(0, 9), 3), []);
}

#[test]
fn a_name_tells_the_sub_range_and_the_part() {
    let day = span(1_743_465_600_000, 1_743_552_000_000, 1);
    assert_eq!(day.name("4c9"), "4c9-events-20250401000000000-20250402000000000.json.gz");
    let part = FileSpan { part: 2, ..day };
    assert_eq!(part.name("4c9"), "4c9-events-20250401000000000-20250402000000000-2.json.gz");
}

proptest! {
    #[test]
    fn files_hold_every_row_once_in_order_tile_the_range_and_are_not_too_large(
        mut millis in proptest::collection::vec(0_i64..60, 1..80),
        most in 1_usize..8,
    ) {
        millis.sort_unstable();
        let days: Vec<&[i64]> = millis.chunk_by(|one, next| one / 20 == next / 20).collect();
        let files = split(&days, range(-3, 70), most);
        let rows: Vec<i64> = files.iter().flat_map(|(_, rows)| rows.clone()).collect();
        prop_assert_eq!(rows, millis.clone());
        prop_assert_eq!(files[0].0.start, -3);
        prop_assert_eq!(files[files.len() - 1].0.end, 70);
        for (at, (span, rows)) in files.iter().enumerate() {
            prop_assert!((1..=most).contains(&rows.len()));
            prop_assert!(rows.iter().all(|milli| (span.start..span.end).contains(milli)));
            if span.part > 1 {
                prop_assert_eq!((span.start, span.end), (files[at - 1].0.start, files[at - 1].0.end));
                prop_assert_eq!(span.part, files[at - 1].0.part + 1);
                prop_assert_eq!(rows[0], files[at - 1].1[most - 1]);
            } else if at > 0 {
                prop_assert_eq!(span.start, files[at - 1].0.end);
            }
        }
    }
}

async fn store() -> Store {
    let mut store = Store::new(&[definition("emailOpened", &[]), definition("pageView", &[])]);
    let at = [5, 10, MICROS_PER_DAY + 5].map(|hour| Event::new("x", hour, Vec::new()));
    store.add("pageView", &at).await;
    store.add("emailOpened", &at[2..]).await;
    store
}

fn request(start: i64, end: i64, definitions: &[&str]) -> ExportRequest {
    let range = TimeRange { start: Micros(start), end: Micros(end) };
    let definitions = definitions.iter().map(|&one| one.to_owned()).collect();
    ExportRequest { definitions, ..ExportRequest::new(range) }
}

#[tokio::test]
async fn a_plan_reads_the_files_that_touch_the_range_day_by_day() {
    let store = store().await;
    let days = |request: ExportRequest| {
        let plan = Plan::of(&store.snapshot(), &request, request.range.start).unwrap();
        let file = |one: &PlannedFile| (one.definition.id.to_string(), one.whole);
        plan.days.iter().map(|day| (day.day.0, day.files.iter().map(file).collect())).collect::<Vec<_>>()
    };
    let page = |whole| ("pageView".to_owned(), whole);
    let email = ("emailOpened".to_owned(), true);
    assert_eq!(
        days(request(0, 2 * MICROS_PER_DAY, &[])),
        [(0, vec![page(true)]), (1, vec![email.clone(), page(true)])]
    );
    assert_eq!(days(request(0, MICROS_PER_DAY, &["page*"])), [(0, vec![page(true)])]);
    assert_eq!(days(request(MICROS_PER_DAY, 2 * MICROS_PER_DAY, &["email*", "*Opened"])), [(1, vec![email])]);
    assert_eq!(days(request(11_000, MICROS_PER_DAY, &[])), []);
}

#[tokio::test]
async fn a_file_that_the_range_cuts_is_not_whole() {
    let mut store = Store::new(&[definition("pageView", &[])]);
    store.add("pageView", &[1_000, 2_000, 3_000].map(|at| Event::new("x", at, Vec::new()))).await;
    let whole = |start, end| {
        let asked = request(start, end, &[]);
        let plan = Plan::of(&store.snapshot(), &asked, asked.range.start).unwrap();
        plan.days[0].files[0].whole
    };
    assert!(whole(1_000, 4_000));
    assert!(!whole(1_000, 3_000));
    assert!(!whole(2_000, 4_000));
}

#[tokio::test]
async fn a_request_that_breaks_a_limit_is_refused_with_the_limit() {
    let snapshot = store().await.snapshot();
    let of = |request: ExportRequest| Plan::of(&snapshot, &request, request.range.start);
    let refused = |request: ExportRequest| of(request).unwrap_err();
    assert!(refused(request(0, 1, &[])).message().contains("whole millisecond"));
    assert!(refused(request(5_000, 5_000, &[])).message().contains("ends after its start"));
    assert!(refused(request(i64::MIN / 1_000 * 1_000, 0, &[])).message().contains("years 1 to 9999"));
    let published = |one| ExportRequest { limits: ExportLimits::published(), ..one };
    assert!(refused(published(request(0, MICROS_PER_DAY + 1_000, &[]))).message().contains("24 hours"));
    assert!(of(published(request(0, MICROS_PER_DAY, &[]))).is_ok());
    let many = vec!["pageView"; 201];
    assert!(refused(published(request(0, 1_000, &many))).message().contains("200 definitions"));
    for id in ["", "a/b", "..", &"x".repeat(65)] {
        let bad = ExportRequest { request_id: Some(id.to_owned()), ..request(0, 1_000, &[]) };
        assert!(refused(bad).message().contains("request id"), "{id}");
    }
    assert_eq!(refused(ExportRequest { level: 10, ..request(0, 1_000, &[]) }).kind(), Kind::Invalid);
    assert_eq!(refused(request(0, 1_000, &["nothing*"])).kind(), Kind::NotFound);
}
