//! What a User-Agent header says of the browser: `deviceType`, `browserName`, `browserVersion`, `browserOS`.
//!
//! The patterns are `regexes.yaml` of uap-core (Apache-2.0, see `regexes.LICENSE`), read once, at the first page view.

use std::sync::OnceLock;

use uaparser::Parser;
use uaparser::UserAgentParser;

const PATTERNS: &[u8] = include_bytes!("regexes.yaml");
/// Longer ones are cut: the patterns need no more, and what is longer was made to slow them down.
const LONGEST: usize = 512;

/// A browser as its header describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Agent {
    pub(crate) device: &'static str,
    pub(crate) name: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) os: Option<String>,
}

/// Reads the header.
pub(crate) fn agent(header: &str) -> Agent {
    static PARSER: OnceLock<Option<UserAgentParser>> = OnceLock::new();
    let parser = PARSER.get_or_init(|| {
        let read = UserAgentParser::builder().with_unicode_support(false).build_from_bytes(PATTERNS);
        read.inspect_err(|error| tracing::error!("the patterns of browsers cannot be read: {error}")).ok()
    });
    let cut = header.char_indices().nth(LONGEST).map_or(header.len(), |(at, _)| at);
    let header = &header[..cut];
    let Some(parser) = parser.as_ref().filter(|_| !header.is_empty()) else {
        return Agent { device: "unknown", ..Agent::default() };
    };
    let (browser, os) = (parser.parse_user_agent(header), parser.parse_os(header));
    let device = parser.parse_device(header);
    let known = |name: &str| (name != "Other").then(|| name.to_owned());
    let parts = [&browser.major, &browser.minor, &browser.patch];
    let parts: Vec<&str> = parts.iter().map_while(|part| part.as_deref()).collect();
    Agent {
        device: kind(header, &device.family, &os.family),
        name: known(&browser.family),
        version: (!parts.is_empty()).then(|| parts.join(".")),
        os: known(&os.family),
    }
}

/// The kind of device, from its family, its system, and the words that the families leave open.
fn kind(header: &str, device: &str, os: &str) -> &'static str {
    let says = |words: &[&str]| words.iter().any(|word| header.contains(word) || device.contains(word));
    if device == "Spider" {
        "spider"
    } else if says(&["PlayStation", "Xbox", "Nintendo"]) {
        "console"
    } else if says(&[
        "SmartTV", "SMART-TV", "AppleTV", "Apple TV", "GoogleTV", "HbbTV", "BRAVIA", "Roku", "AFT",
    ]) || matches!(os, "tvOS" | "Tizen TV" | "webOS TV" | "Roku")
    {
        "TV"
    } else if says(&["iPad", "Tablet", "Kindle"]) || (os == "Android" && !header.contains("Mobile")) {
        "tablet"
    } else if says(&["iPhone", "iPod", "Mobile", "Phone"]) || matches!(os, "Android" | "iOS") {
        "mobile"
    } else if matches!(os, "Windows" | "Mac OS X" | "Linux" | "Ubuntu" | "Fedora" | "Debian" | "Chrome OS")
        || os.contains("BSD")
    {
        "desktop"
    } else {
        "unknown"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_told_by_their_headers() {
        let cases = [
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
                ("desktop", Some("Chrome"), Some("126.0.0"), Some("Windows")),
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
                ("mobile", Some("Mobile Safari"), Some("17.5"), Some("iOS")),
            ),
            (
                "Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
                ("tablet", Some("Mobile Safari"), Some("17.5"), Some("iOS")),
            ),
            (
                "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.6478.71 Mobile Safari/537.36",
                ("mobile", Some("Chrome Mobile"), Some("126.0.6478"), Some("Android")),
            ),
            (
                "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
                ("spider", Some("Googlebot"), Some("2.1"), None),
            ),
            ("", ("unknown", None, None, None)),
            ("something else", ("unknown", None, None, None)),
        ];
        for (header, (device, name, version, os)) in cases {
            let found = agent(header);
            assert_eq!(
                (found.device, found.name.as_deref(), found.version.as_deref(), found.os.as_deref()),
                (device, name, version, os),
                "{header}"
            );
        }
    }
}
