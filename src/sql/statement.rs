//! `Statement`: plain SQL, a change of definitions, or an export, with its place in the text that was typed.

use crate::analysis::Analysis;
use crate::error::Place;
use crate::schema::Property;
use crate::sql::ComputedStatement;
use crate::sql::PeopleStatement;
use crate::sql::SegmentStatement;

/// One statement of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// The statement as typed, without the `;`.
    pub text: String,
    /// Where it starts in the whole text.
    pub place: Place,
    pub kind: StatementKind,
}

/// What a statement asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum StatementKind {
    /// SQL that the query layer parses and answers.
    Plain,
    CreateEvent(CreateEvent),
    AlterEvent(AlterEvent),
    /// `ENABLE EVENT` or `DISABLE EVENT`: ids or patterns with `*`.
    SwitchEvents {
        patterns: Vec<String>,
        enabled: bool,
    },
    /// `SHOW EVENTS`, with the SQL pattern of a `LIKE`.
    ShowEvents {
        like: Option<String>,
    },
    /// `SHOW TEMPLATES`.
    ShowTemplates,
    /// `DESCRIBE` of an event or any other table.
    Describe {
        name: String,
    },
    ExportEvents(ExportEvents),
    /// `CREATE SEGMENT …` and its kin.
    Segment(Box<SegmentStatement>),
    /// `CREATE COMPUTED ATTRIBUTE …`, `CREATE SCORE …` and their kin.
    Computed(Box<ComputedStatement>),
    /// `RETENTION …` and its kin.
    Question(Box<Analysis>),
    People(PeopleStatement),
    ExportQuery(ExportQuery),
    CreateExportSchedule(CreateExportSchedule),
    DropExportSchedule {
        name: String,
    },
    /// `FORGET PERSON '…'`: an external id, or a kind of identifier and the identifier.
    ForgetPerson {
        kind: Option<String>,
        id: String,
    },
    /// `SHOW RETENTION`.
    ShowRetention,
    /// `BACKUP TO '…'`: a folder.
    Backup {
        into: String,
    },
    /// `VERIFY`.
    Verify,
}

/// `CREATE EVENT …`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CreateEvent {
    /// Derived from the title when absent.
    pub id: Option<String>,
    pub title: Option<String>,
    pub description: Option<String>,
    pub template: Option<String>,
    pub properties: Vec<Property>,
    pub if_not_exists: bool,
    /// A property's name was quoted: it need not be a plain word.
    pub any_names: bool,
}

/// `ALTER EVENT id …`.
#[derive(Clone, Debug, PartialEq)]
pub struct AlterEvent {
    pub id: String,
    pub change: Change,
}

/// What `ALTER EVENT` changes.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    Add {
        properties: Vec<Property>,
        any_names: bool,
    },
    Title(String),
    Description(String),
    /// `SET RETENTION 6 MONTHS`, as typed; none for `NONE`.
    Retention(Option<String>),
}

/// `EXPORT EVENTS …`: the texts as typed; the engine reads times and options.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExportEvents {
    /// Ids or patterns with `*`; none means all.
    pub events: Vec<String>,
    pub from: String,
    pub to: String,
    pub into: String,
    /// Names in lower case, values as typed.
    pub options: Vec<(String, String)>,
}

/// `EXPORT (SELECT …) INTO …`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExportQuery {
    pub query: String,
    pub into: String,
    pub options: Vec<(String, String)>,
}

/// `CREATE EXPORT SCHEDULE …`: the texts as typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CreateExportSchedule {
    pub name: String,
    /// Ids or patterns with `*`; none means all.
    pub events: Vec<String>,
    /// A number and a unit.
    pub every: (String, String),
    /// How long events may be late.
    pub grace: Option<(String, String)>,
    /// Where the first interval starts.
    pub from: Option<String>,
    pub into: String,
    pub options: Vec<(String, String)>,
}
