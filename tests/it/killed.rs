//! A server that is killed again and again under load: what it has acknowledged is stored, once; what it has not may be
//! sent again.

use std::collections::BTreeSet;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use crate::harness::Server;
use crate::harness::Store;

const KILLS: usize = 10;
const CLIENTS: usize = 4;

/// What all clients know.
#[derive(Default)]
struct Counted {
    acknowledged: Mutex<BTreeSet<String>>,
    /// Sent, and never answered.
    open: Mutex<BTreeSet<String>>,
    answers: AtomicUsize,
}

/// One request on a connection that stays; its status.
fn request(stream: &mut BufReader<TcpStream>, path: &str, body: &str) -> std::io::Result<u16> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.get_mut().write_all((head + body).as_bytes())?;
    let (mut line, mut status, mut length) = (String::new(), 0, 0);
    loop {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let text = line.trim_end().to_ascii_lowercase();
        if let Some(rest) = text.strip_prefix("http/1.1 ") {
            status = rest[..3].parse().unwrap();
        } else if let Some(value) = text.strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        } else if text.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(status)
}

/// Sends single events and batches, until the server is no more.
fn client(address: &str, name: &str, time: &str, counted: &Counted) {
    let Ok(stream) = TcpStream::connect(address) else { return };
    stream.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
    let mut stream = BufReader::new(stream);
    for n in 0.. {
        let single = n % 3 != 0;
        let ids: Vec<String> =
            (0..if single { 1 } else { 20 }).map(|item| format!("{name}_{n}_{item}")).collect();
        counted.open.lock().unwrap().extend(ids.iter().cloned());
        let sent = if single {
            let body = format!("{{\"eventId\":\"{}\",\"properties\":{{\"venueId\":{n}}}}}", ids[0]);
            request(&mut stream, &single_path(), &body)
        } else {
            request(&mut stream, "/people/3/events", &batch(&ids, time))
        };
        let Ok(status) = sent else { return };
        assert!(matches!(status, 201 | 202), "{status}");
        counted.acknowledged.lock().unwrap().extend(ids.iter().cloned());
        let mut open = counted.open.lock().unwrap();
        ids.iter().for_each(|id| drop(open.take(id)));
        counted.answers.fetch_add(1, Ordering::Relaxed);
    }
}

fn single_path() -> String {
    "/peopleevents/2/persons/a/definitions/seatReserved/events?identifierType=EXTERNAL_ID&createPerson=true"
        .to_owned()
}

fn batch(ids: &[String], time: &str) -> String {
    let items: Vec<String> = ids.iter().map(|id| {
        format!("{{\"eventId\":\"{id}\",\"definitionId\":\"seatReserved\",\"occurredTime\":\"{time}\",\"identifier\":{{\"id\":\"b\",\"type\":\"EXTERNAL_ID\"}}}}")
    }).collect();
    format!("[{}]", items.join(","))
}

#[test]
fn what_was_acknowledged_survives_every_kill_once() {
    let store = Store::with_seats();
    let counted = Counted::default();
    let mut time = String::new();
    for kill in 0..KILLS {
        let server = Server::start(&store);
        if time.is_empty() {
            let asked = server.sql("SELECT now() - INTERVAL '1 hour' AS t").fine();
            asked.split('"').nth(3).unwrap().clone_into(&mut time);
        }
        counted.answers.store(0, Ordering::Relaxed);
        std::thread::scope(|scope| {
            for number in 0..CLIENTS {
                let (address, time, counted) = (server.address.clone(), &time, &counted);
                scope.spawn(move || client(&address, &format!("k{kill}_{number}"), time, counted));
            }
            // At another moment each time, in the middle of what all of them are doing.
            while counted.answers.load(Ordering::Relaxed) < 7 + 13 * kill {
                std::thread::yield_now();
            }
            server.kill();
        });
    }
    let server = Server::start(&store);
    let stored = server.ask("POST", "/v1/sql?format=csv", &[], "SELECT eventId FROM seatReserved").fine();
    let all: Vec<&str> = stored.lines().skip(1).collect();
    let once: BTreeSet<&str> = all.iter().copied().collect();
    assert_eq!(all.len(), once.len(), "each once");
    let acknowledged = counted.acknowledged.into_inner().unwrap();
    let lost: Vec<_> = acknowledged.iter().filter(|id| !once.contains(id.as_str())).collect();
    assert!(
        lost.is_empty() && acknowledged.len() > 300,
        "{} of {} are lost: {lost:?}",
        lost.len(),
        acknowledged.len()
    );
    // What was never answered is sent again: each is there once then, whatever had become of it.
    let open: Vec<String> = counted.open.into_inner().unwrap().into_iter().collect();
    assert!(!open.is_empty());
    assert_eq!(server.post("/people/3/events", &batch(&open, &time)).status, 202);
    let expected = once.iter().map(|id| (*id).to_owned()).chain(open).collect::<BTreeSet<_>>().len();
    let count = server
        .ask("POST", "/v1/sql?format=csv", &[], "SELECT COUNT(*), COUNT(DISTINCT eventId) FROM seatReserved")
        .fine();
    assert_eq!(count.lines().nth(1), Some(format!("{expected},{expected}").as_str()));
}
