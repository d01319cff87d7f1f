//! Counters for Prometheus, in its text format.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::engine::IngestReport;

/// The upper ends of the steps in which times are counted, in seconds.
const STEPS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];

/// Everything that is counted.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    requests: Mutex<BTreeMap<Request, u64>>,
    times: Mutex<BTreeMap<String, Times>>,
    events: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
    pub(crate) running: Gauge,
    pub(crate) connections: Gauge,
    pub(crate) postgres: Gauge,
    pub(crate) queries: Gauge,
    pub(crate) rows: Counter,
}

/// What requests are told apart by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Request {
    route: String,
    method: &'static str,
    status: u16,
}

#[derive(Debug, Default)]
struct Times {
    steps: [u64; STEPS.len()],
    sum: f64,
    count: u64,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }
}

/// A number of things that are there now.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicI64);

impl Gauge {
    pub(crate) fn add(&self, more: i64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn now(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Metrics {
    /// Counts a request that was answered.
    pub(crate) fn answered(&self, route: &str, method: &str, status: u16, took: Duration) {
        const METHODS: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
        let method = METHODS.into_iter().find(|known| *known == method).unwrap_or("OTHER");
        let request = Request { route: route.to_owned(), method, status };
        *self.requests.lock().unwrap_or_else(PoisonError::into_inner).entry(request).or_default() += 1;
        let seconds = took.as_secs_f64();
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let times = match times.get_mut(route) {
            Some(times) => times,
            None => times.entry(route.to_owned()).or_default(),
        };
        for (step, count) in STEPS.iter().zip(&mut times.steps) {
            *count += u64::from(seconds <= *step);
        }
        times.sum += seconds;
        times.count += 1;
    }

    /// Counts events that came in by a door, by what became of them.
    pub(crate) fn ingested(&self, door: &'static str, report: &IngestReport) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let verdicts =
            [("stored", report.stored), ("duplicate", report.duplicates), ("refused", report.refused)];
        for (verdict, count) in verdicts.into_iter().filter(|(_, count)| *count > 0) {
            *events.entry((door, verdict)).or_default() += count;
        }
    }

    /// All of it, as Prometheus reads it.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        head(&mut out, "milepost_build_info", "gauge", "The version that runs.");
        line(&mut out, "milepost_build_info", &[("version", env!("CARGO_PKG_VERSION"))], "1");
        head(&mut out, "milepost_http_requests_total", "counter", "Requests that were answered.");
        for (one, count) in &*self.requests.lock().unwrap_or_else(PoisonError::into_inner) {
            let status = one.status.to_string();
            let labels = [("route", one.route.as_str()), ("method", one.method), ("status", &status)];
            line(&mut out, "milepost_http_requests_total", &labels, &count.to_string());
        }
        let name = "milepost_http_request_seconds";
        head(&mut out, name, "histogram", "How long requests took until their answer began.");
        for (route, times) in &*self.times.lock().unwrap_or_else(PoisonError::into_inner) {
            for (step, count) in STEPS.iter().zip(times.steps) {
                let labels = [("route", route.as_str()), ("le", &step.to_string())];
                line(&mut out, &format!("{name}_bucket"), &labels, &count.to_string());
            }
            let labels = [("route", route.as_str()), ("le", "+Inf")];
            line(&mut out, &format!("{name}_bucket"), &labels, &times.count.to_string());
            line(&mut out, &format!("{name}_sum"), &labels[..1], &times.sum.to_string());
            line(&mut out, &format!("{name}_count"), &labels[..1], &times.count.to_string());
        }
        let gauges = [
            ("milepost_http_requests_running", "Requests that are being answered.", &self.running),
            ("milepost_http_connections", "Clients that are connected.", &self.connections),
            ("milepost_postgres_connections", "Clients on the Postgres wire.", &self.postgres),
            ("milepost_queries_running", "Questions that are being answered.", &self.queries),
        ];
        for (name, help, gauge) in gauges {
            head(&mut out, name, "gauge", help);
            line(&mut out, name, &[], &gauge.now().to_string());
        }
        head(&mut out, "milepost_rows_total", "counter", "Rows that were answered.");
        line(&mut out, "milepost_rows_total", &[], &self.rows.0.load(Ordering::Relaxed).to_string());
        head(&mut out, "milepost_events_total", "counter", "Events that came in, by what became of them.");
        for ((door, verdict), count) in &*self.events.lock().unwrap_or_else(PoisonError::into_inner) {
            let labels = [("door", *door), ("verdict", *verdict)];
            line(&mut out, "milepost_events_total", &labels, &count.to_string());
        }
        if let Some(bytes) = memory() {
            head(&mut out, "process_resident_memory_bytes", "gauge", "Memory of this process.");
            line(&mut out, "process_resident_memory_bytes", &[], &bytes.to_string());
        }
        out
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    out.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
}

fn line(out: &mut String, name: &str, labels: &[(&str, &str)], value: &str) {
    out.push_str(name);
    for (at, (label, text)) in labels.iter().enumerate() {
        let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        // Writing to a string cannot fail.
        let _ = write!(out, "{}{label}=\"{text}\"", if at == 0 { '{' } else { ',' });
    }
    out.push_str(if labels.is_empty() { " " } else { "} " });
    out.push_str(value);
    out.push('\n');
}

/// The memory of this process, where the system says it.
fn memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_fall_into_their_steps_and_all_above() {
        let metrics = Metrics::default();
        metrics.answered("/v1/sql", "POST", 200, Duration::from_millis(3));
        metrics.answered("/v1/sql", "BREW", 418, Duration::from_secs(99));
        metrics.ingested("single", &IngestReport { stored: 2, ..IngestReport::default() });
        let text = metrics.text();
        for line in [
            r#"milepost_http_requests_total{route="/v1/sql",method="POST",status="200"} 1"#,
            r#"milepost_http_requests_total{route="/v1/sql",method="OTHER",status="418"} 1"#,
            r#"milepost_http_request_seconds_bucket{route="/v1/sql",le="0.0025"} 0"#,
            r#"milepost_http_request_seconds_bucket{route="/v1/sql",le="0.005"} 1"#,
            r#"milepost_http_request_seconds_bucket{route="/v1/sql",le="+Inf"} 2"#,
            r#"milepost_events_total{door="single",verdict="stored"} 2"#,
            "milepost_http_connections 0",
        ] {
            assert!(text.lines().any(|one| one == line), "{line} is not in\n{text}");
        }
    }
}
