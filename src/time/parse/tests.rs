use chrono::DateTime;
use chrono::FixedOffset;
use proptest::prelude::*;

use super::*;

fn utc(text: &str) -> Result<String, TimeFault> {
    parse_instant(text, None).map(|moment| moment.to_string())
}

fn local(text: &str, zone: &str) -> String {
    parse_instant(text, Some(parse_zone(zone).unwrap())).unwrap().to_string()
}

#[test]
fn the_forms_that_senders_use_are_one_moment() {
    for text in [
        "2025-05-01T18:30:00.000Z",
        "2025-05-01T18:30:00Z",
        "2025-05-01 18:30:00z",
        "2025-05-01T18:30Z",
        "2025-05-01T18:30:00.000+0000",
        "2025-05-01T18:30:00+00:00",
        "2025-05-01T18:30:00-00",
        "2025-05-01 18:30:00 UTC",
        "2025-05-01 18:30:00 +0000",
        "2025-05-01T20:30:00.0000000+02:00",
        "2025-05-01T13:00:00,000-0530",
    ] {
        assert_eq!(utc(text).as_deref(), Ok("2025-05-01T18:30:00.000000Z"), "{text}");
    }
    assert_eq!(utc("2024-02-29T12Z").as_deref(), Ok("2024-02-29T12:00:00.000000Z"));
}

#[test]
fn digits_finer_than_a_microsecond_are_cut_on_both_sides_of_the_epoch() {
    assert_eq!(utc("2025-04-17T09:12:44.1830009Z").as_deref(), Ok("2025-04-17T09:12:44.183000Z"));
    assert_eq!(utc("2025-04-17T09:12:44.123456789Z").as_deref(), Ok("2025-04-17T09:12:44.123456Z"));
    assert_eq!(parse_instant("1969-12-31T23:59:59.9999999Z", None), Ok(Micros(-1)));
    assert_eq!(parse_instant("1969-12-31T23:59:55Z", None), Ok(Micros(-5_000_000)));
    assert_eq!(parse_instant("1970-01-01T00:00:00Z", None), Ok(Micros(0)));
}

#[test]
fn what_is_no_time_is_a_fault_that_says_why() {
    for (text, fault) in [
        ("", TimeFault::Form),
        ("yesterday", TimeFault::Form),
        ("2024-1-1", TimeFault::Form),
        ("2024-02-29Z", TimeFault::Form),
        ("2024-02-29T", TimeFault::Form),
        ("2024-02-29T12:", TimeFault::Form),
        ("2024-02-29T12:00:00.Z", TimeFault::Form),
        ("2024-02-29T12:00:00ZZ", TimeFault::Form),
        ("2024-02-29T12:00:00+1", TimeFault::Form),
        ("2024-02-29T12:00:00 CET", TimeFault::Form),
        ("1714588200000", TimeFault::Form),
        ("２０２４-02-29", TimeFault::Form),
        ("2024-02-29T12:00:00", TimeFault::NoOffset),
        ("2024-02-30", TimeFault::NoSuchDate),
        ("2023-02-29", TimeFault::NoSuchDate),
        ("1900-02-29", TimeFault::NoSuchDate),
        ("2024-13-01", TimeFault::NoSuchDate),
        ("2024-00-01", TimeFault::NoSuchDate),
        ("2024-01-00", TimeFault::NoSuchDate),
        ("2024-01-01T24:00Z", TimeFault::NoSuchTime),
        ("2024-01-01T23:59:60Z", TimeFault::NoSuchTime),
        ("2024-01-01T00:00+24:00", TimeFault::NoSuchTime),
        ("0000-12-31", TimeFault::OutOfRange),
        ("0001-01-01T00:00:00+00:01", TimeFault::OutOfRange),
        ("9999-12-31T23:59:59-00:01", TimeFault::OutOfRange),
    ] {
        assert_eq!(utc(text), Err(fault), "{text}");
    }
}

#[test]
fn br21_a_leap_day_is_a_date_and_the_thirtieth_of_february_is_not() {
    assert_eq!(utc("2024-02-29").as_deref(), Ok("2024-02-29T00:00:00.000000Z"));
    assert_eq!(utc("2024-02-30"), Err(TimeFault::NoSuchDate));
}

#[test]
fn a_time_without_offset_is_read_in_the_zone() {
    assert_eq!(local("2024-07-01T12:00:00", "Europe/Zagreb"), "2024-07-01T10:00:00.000000Z");
    assert_eq!(local("2024-01-01", "Asia/Kolkata"), "2023-12-31T18:30:00.000000Z");
    assert_eq!(local("2024-07-01T12:00:00Z", "Europe/Zagreb"), "2024-07-01T12:00:00.000000Z");
    assert_eq!(local("1900-01-01T00:00:00", "Europe/Zagreb"), "1899-12-31T23:00:00.000000Z");
}

#[test]
fn a_wall_time_shown_twice_is_the_earlier_and_a_skipped_one_keeps_the_old_offset() {
    assert_eq!(local("2024-10-27T02:30:00", "Europe/Berlin"), "2024-10-27T00:30:00.000000Z");
    assert_eq!(local("2024-03-31T02:30:00", "Europe/Berlin"), "2024-03-31T01:30:00.000000Z");
    assert_eq!(local("2025-04-25", "Africa/Cairo"), "2025-04-24T22:00:00.000000Z");
    assert_eq!(local("2011-12-30T12:00", "Pacific/Apia"), "2011-12-30T22:00:00.000000Z");
}

#[test]
fn an_unknown_zone_gets_the_nearest_name() {
    let message = parse_zone("Europe/Zagreeb").unwrap_err().to_string();
    assert_eq!(message, "no time zone is called \"Europe/Zagreeb\"; did you mean \"Europe/Zagreb\"?");
}

#[test]
fn day_first_times_have_one_form() {
    let read = |text| parse_day_first(text).map(|moment| moment.to_string());
    assert_eq!(read("29/02/2024 18:30:05").as_deref(), Ok("2024-02-29T18:30:05.000000Z"));
    assert_eq!(read("02/29/2024 18:30:05"), Err(TimeFault::NoSuchDate));
    assert_eq!(read("29/02/2024 25:00:00"), Err(TimeFault::NoSuchTime));
    for text in [
        "29/02/2024",
        "29/02/2024 18:30",
        "29/02/2024 18:30:05Z",
        "29-02-2024 18:30:05",
        "x9/02/2024 18:30:05",
    ] {
        assert_eq!(read(text), Err(TimeFault::Form), "{text}");
    }
}

#[test]
fn seconds_taken_for_milliseconds_are_refused() {
    assert_eq!(from_epoch_millis(1_744_881_164_183), Ok(Micros(1_744_881_164_183_000)));
    assert_eq!(from_epoch_millis(1_744_881_164), Err(TimeFault::Seconds));
    assert_eq!(from_epoch_millis(0), Ok(Micros(0)));
    assert_eq!(from_epoch_millis(-5), Ok(Micros(-5_000)));
    assert_eq!(from_epoch_millis(978_307_199), Ok(Micros(978_307_199_000)));
    assert_eq!(from_epoch_millis(978_307_200), Err(TimeFault::Seconds));
    assert_eq!(from_epoch_millis(i64::MAX), Err(TimeFault::OutOfRange));
    assert_eq!(from_epoch_millis(253_402_300_800_000), Err(TimeFault::OutOfRange));
}

proptest! {
    #[test]
    fn written_times_read_back_as_chrono_reads_them(
        micros in Micros::FIRST.0 + MICROS_PER_DAY..=Micros::LAST.0 - MICROS_PER_DAY,
        minutes in -1_439i32..=1_439,
        form in 0usize..5,
    ) {
        let offset = FixedOffset::east_opt(minutes * 60).unwrap();
        let twin = DateTime::from_timestamp_micros(micros).unwrap().with_timezone(&offset);
        let form = ["%Y-%m-%dT%H:%M:%S%.6f%:z", "%Y-%m-%d %H:%M:%S%.6f%z", "%Y-%m-%dT%H:%M:%S%.9f%z", "%Y-%m-%dT%H:%M:%S%.3f%:z", "%Y-%m-%dT%H:%M:%S %z"][form];
        let text = twin.format(form).to_string();
        let again = DateTime::parse_from_str(&text, &form.replace("%.6f", "%.f").replace("%.9f", "%.f").replace("%.3f", "%.f"));
        prop_assert_eq!(parse_instant(&text, None), Ok(Micros(again.unwrap().timestamp_micros())), "{}", text);
    }

    #[test]
    fn times_near_the_epoch_read_back_exactly(micros in -3_000_000i64..3_000_000) {
        prop_assert_eq!(parse_instant(&Micros(micros).to_string(), None), Ok(Micros(micros)));
        let day = micros * 86_400;
        prop_assert_eq!(parse_instant(Micros(day).iso_micros().as_str(), None), Ok(Micros(day)));
    }

    #[test]
    fn no_text_makes_it_panic(text in "[0-9TZ:+\\-. é]{0,32}") {
        let _ = parse_instant(&text, None);
        let _ = parse_day_first(&text);
    }

    #[test]
    fn zones_agree_with_chrono_where_a_wall_time_is_shown_once(
        seconds in -2_000_000_000i64..4_000_000_000,
        zone in prop::sample::select(vec!["Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Pacific/Apia"]),
    ) {
        let zone = parse_zone(zone).unwrap();
        let wall = DateTime::from_timestamp(seconds, 0).unwrap().naive_utc();
        if let Some(twin) = zone.from_local_datetime(&wall).single() {
            let text = wall.format("%Y-%m-%dT%H:%M:%S").to_string();
            prop_assert_eq!(parse_instant(&text, Some(zone)), Ok(Micros(twin.timestamp_micros())));
        }
    }
}
