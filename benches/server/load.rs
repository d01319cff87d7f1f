//! Sends events to a running server as fast as it takes them, each request answered before the next one of its
//! connection goes out, and says how fast that was.
//!
//! ```text
//! rustc -O --edition 2024 -o load benches/server/load.rs
//! ./load 127.0.0.1:6453 single 64 10          connections, seconds
//! ./load 127.0.0.1:6453 batch 4 10 5000       … events of a batch
//! ./load 127.0.0.1:6453 single 64 10 0 6000   … requests a second, all together
//! ```

use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

type Failed = Box<dyn std::error::Error + Send + Sync>;

const SINGLE: &str = "/peopleevents/2/persons/load-1/definitions/loadSent/events?identifierType=EXTERNAL_ID&createPerson=true";
const BATCH: &str = "/people/3/events";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failed> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [address, kind, rest @ ..] = args.as_slice() else { return Err("ADDRESS single|batch CONNECTIONS SECONDS".into()) };
    let number = |at: usize, otherwise: u64| rest.get(at).map_or(Ok(otherwise), |text| text.parse::<u64>());
    let (connections, seconds, size, rate) = (number(0, 64)?, number(1, 10)?, number(2, 5_000)?, number(3, 0)?);
    let batch = kind == "batch";
    define(address)?;
    let pause = (rate > 0).then(|| Duration::from_secs_f64(connections as f64 / rate as f64));
    let start = Instant::now();
    let end = start + Duration::from_secs(seconds);
    let workers: Vec<_> = (0..connections)
        .map(|worker| {
            let address = address.clone();
            thread::spawn(move || work(&address, worker, batch, size, pause, end))
        })
        .collect();
    let mut times = Vec::new();
    for worker in workers {
        times.extend(worker.join().map_err(|_| "a worker fell")??);
    }
    let took = start.elapsed().as_secs_f64();
    times.sort_unstable();
    let at = |share: f64| times.get((times.len() as f64 * share) as usize).map_or(0.0, |time| *time as f64 / 1e3);
    let events = times.len() as f64 * if batch { size as f64 } else { 1.0 };
    println!(
        "{kind}: {:.0} events/s, {:.0} requests/s, p50 {:.2} ms, p99 {:.2} ms",
        events / took,
        times.len() as f64 / took,
        at(0.5),
        at(0.99)
    );
    Ok(())
}

/// Microseconds of each request.
fn work(address: &str, worker: u64, batch: bool, size: u64, pause: Option<Duration>, end: Instant) -> Result<Vec<u64>, Failed> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let run = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros();
    let now = now_text()?;
    let mut times = Vec::new();
    let mut next = Instant::now();
    for n in 0_u64.. {
        if Instant::now() >= end {
            break;
        }
        let body = if batch {
            let item = |at: u64| format!(
                "{{\"eventId\":\"b{run}_{worker}_{n}_{at}\",\"definitionId\":\"loadSent\",\"occurredTime\":\"{now}\",\"identifier\":{{\"id\":\"p{}\",\"type\":\"EXTERNAL_ID\"}},\"properties\":{{\"venueId\":{at},\"total\":62.5}}}}",
                (worker * 7919 + n * 104_729 + at) % 100_000
            );
            let items: Vec<String> = (0..size).map(item).collect();
            format!("[{}]", items.join(","))
        } else {
            format!("{{\"eventId\":\"s{run}_{worker}_{n}\",\"properties\":{{\"venueId\":{n},\"total\":62.5}}}}")
        };
        if let Some(pause) = pause {
            thread::sleep(next.saturating_duration_since(Instant::now()));
            next += pause;
        }
        let began = Instant::now();
        let status = request(&mut stream, if batch { BATCH } else { SINGLE }, &body)?;
        if !matches!(status, 201 | 202) {
            return Err(format!("the server answered {status}").into());
        }
        times.push(u64::try_from(began.elapsed().as_micros())?);
    }
    Ok(times)
}

fn define(address: &str) -> Result<(), Failed> {
    let mut stream = BufReader::new(TcpStream::connect(address)?);
    let body = r#"{"definitionId":"loadSent","title":"Load sent","fields":[{"name":"venueId","type":"Numeric"},{"name":"total","type":"Decimal"}]}"#;
    request(&mut stream, "/peopleevents/2/definitions", body)?;
    Ok(())
}

fn request(stream: &mut BufReader<TcpStream>, path: &str, body: &str) -> Result<u16, Failed> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.get_mut().write_all((head + body).as_bytes())?;
    let (mut line, mut status, mut length) = (String::new(), 0, 0);
    loop {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            return Err("the server closed".into());
        }
        let text = line.trim_end();
        if let Some(rest) = text.strip_prefix("HTTP/1.1 ") {
            status = rest.get(..3).unwrap_or_default().parse()?;
        } else if let Some((name, value)) = text.split_once(": ")
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.parse()?;
        } else if text.is_empty() {
            break;
        }
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer)?;
    Ok(status)
}

/// The time now as the server takes it.
fn now_text() -> Result<String, Failed> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Howard Hinnant's days to a date.
    let z = days + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (day, month) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
    let year = yoe + era * 400 + u64::from(month <= 2);
    Ok(format!("{year}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60))
}
