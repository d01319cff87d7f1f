//! `Identifier`: a name under which a sender knows a person, and the kinds of such names.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use serde::Serialize;

use crate::error::Error;
use crate::error::Result;
use crate::error::did_you_mean;

/// The kinds of identifiers that senders may use (`Id` is our own `personId`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum IdentifierType {
    Id,
    ExternalId,
    Phone,
    Email,
    Line,
    Facebook,
    Telegram,
    Push,
    WebPush,
    LiveChat,
    ViberBots,
    Instagram,
    InstagramDm,
    Twitter,
    AppleBusinessChat,
    KakaoSangdam,
    GoogleBusinessMessages,
    Whatsapp,
    ZaloFollower,
    TiktokBm,
    /// A browser that nobody has named yet; only this program gives it out.
    Visitor,
}

const NAMES: [(IdentifierType, &str); 21] = [
    (IdentifierType::Id, "ID"),
    (IdentifierType::ExternalId, "EXTERNAL_ID"),
    (IdentifierType::Phone, "PHONE"),
    (IdentifierType::Email, "EMAIL"),
    (IdentifierType::Line, "LINE"),
    (IdentifierType::Facebook, "FACEBOOK"),
    (IdentifierType::Telegram, "TELEGRAM"),
    (IdentifierType::Push, "PUSH"),
    (IdentifierType::WebPush, "WEB_PUSH"),
    (IdentifierType::LiveChat, "LIVE_CHAT"),
    (IdentifierType::ViberBots, "VIBER_BOTS"),
    (IdentifierType::Instagram, "INSTAGRAM"),
    (IdentifierType::InstagramDm, "INSTAGRAM_DM"),
    (IdentifierType::Twitter, "TWITTER"),
    (IdentifierType::AppleBusinessChat, "APPLE_BUSINESS_CHAT"),
    (IdentifierType::KakaoSangdam, "KAKAO_SANGDAM"),
    (IdentifierType::GoogleBusinessMessages, "GOOGLE_BUSINESS_MESSAGES"),
    (IdentifierType::Whatsapp, "WHATSAPP"),
    (IdentifierType::ZaloFollower, "ZALO_FOLLOWER"),
    (IdentifierType::TiktokBm, "TIKTOK_BM"),
    (IdentifierType::Visitor, "VISITOR"),
];

impl IdentifierType {
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(kind, _)| *kind == self).map_or("ID", |(_, name)| name)
    }

    /// Whether an unknown identifier of this kind may create its person.
    pub fn may_create(self) -> bool {
        matches!(self, Self::Phone | Self::Email | Self::ExternalId)
    }

    /// Whether the identifier is unique only together with the sender that knows it.
    pub fn needs_sender(self) -> bool {
        !matches!(self, Self::Id | Self::ExternalId | Self::Phone | Self::Email | Self::Visitor)
    }
}

impl fmt::Display for IdentifierType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for IdentifierType {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        NAMES.iter().find(|(_, name)| *name == text).map(|(kind, _)| *kind).ok_or_else(|| {
            let hint = did_you_mean(text, NAMES.iter().map(|(_, name)| *name));
            Error::invalid(format!("no identifier type is called \"{text}\"{hint}"))
        })
    }
}

/// An identifier as a sender writes it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identifier {
    pub kind: IdentifierType,
    pub id: String,
    /// Empty for the kinds that need none.
    pub sender: String,
}
