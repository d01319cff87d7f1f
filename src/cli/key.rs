//! `milepost key`: makes, lists and revokes the keys of the server, which may be running.

use crate::cli::args::KeyCommand;
use crate::cli::exit::answer;
use crate::cli::exit::say;
use crate::cli::print::Output;
use crate::cli::remote::Reached;
use crate::cli::terminal::Terminal;
use crate::error::Result;

pub(crate) async fn run(store: &Reached, command: KeyCommand, terminal: &Terminal) -> Result<()> {
    match command {
        KeyCommand::Create { name, scopes } => {
            let secret = match store {
                Reached::Here(engine) => engine.create_key(&name, &scopes)?,
                Reached::There(remote) => remote.create_key(&name, &scopes).await?,
            };
            answer(&secret)?;
            say("This is the only time that the key is shown. Send it as \"Authorization: App <key>\".\n");
            Ok(())
        }
        KeyCommand::Revoke { name } => {
            match store {
                Reached::Here(engine) => engine.revoke_key(&name)?,
                Reached::There(remote) => remote.revoke_key(&name).await?,
            }
            answer(&format!("key {name} revoked"))
        }
        KeyCommand::List { format } => {
            let rows = match store {
                Reached::Here(engine) => engine.keys()?,
                Reached::There(remote) => remote.keys().await?,
            };
            let output = Output { terminal: terminal.clone(), format, ..Output::default() };
            let schema = rows.schema();
            output.show(&schema, rows, std::time::Instant::now()).await.map(|_| ())
        }
    }
}
