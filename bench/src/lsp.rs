//! As much of the Language Server Protocol as an editor needs that opens a workspace and saves files.
//!
//! Base protocol and messages: Language Server Protocol 3.17. What the server asks of us is answered: its settings with
//! ours, everything else with nothing.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// The server gets so long to end by itself.
const FAREWELL: Duration = Duration::from_secs(5);

/// A language server that was started.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    stdin: ChildStdin,
    heard: Receiver<Value>,
    settings: Value,
    requests: u64,
}

impl Server {
    /// Starts the command, whose standard input and output become the connection, on the workspace in `root`.
    pub(crate) fn start(mut command: Command, root: &Path, settings: Value) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting the language server")?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("the language server has no standard input or output");
        };
        let (say, heard) = channel();
        std::thread::spawn(move || {
            let mut stdout = BufReader::new(stdout);
            while let Ok(Some(message)) = read(&mut stdout) {
                if say.send(message).is_err() {
                    break;
                }
            }
        });
        let mut server = Self { child, stdin, heard, settings, requests: 0 };
        let folder = json!({"uri": uri(root), "name": "workspace"});
        let id = server.request(
            "initialize",
            &json!({
                "processId": std::process::id(),
                "rootUri": uri(root),
                "workspaceFolders": [folder],
                "initializationOptions": server.settings.clone(),
                "capabilities": {
                    "window": {"workDoneProgress": true},
                    "experimental": {"serverStatusNotification": true},
                    "workspace": {"configuration": true, "workspaceFolders": true},
                    "textDocument": {
                        "synchronization": {"didSave": true},
                        "publishDiagnostics": {},
                    },
                },
            }),
        )?;
        let until = Instant::now() + Duration::from_secs(60);
        while Instant::now() < until {
            let Some(message) = server.hear(Duration::from_millis(200))? else { continue };
            if message["id"] == id {
                server.notify("initialized", &json!({}))?;
                return Ok(server);
            }
        }
        bail!("the language server did not answer in a minute")
    }

    /// Its process.
    pub(crate) fn id(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap_or(0)
    }

    /// The next message that is no request of the server's; `None` if there is none for so long.
    pub(crate) fn hear(&mut self, patience: Duration) -> Result<Option<Value>> {
        let message = match self.heard.recv_timeout(patience) {
            Ok(message) => message,
            Err(RecvTimeoutError::Timeout) => return Ok(None),
            Err(RecvTimeoutError::Disconnected) => bail!("the language server has ended"),
        };
        let (Some(id), Some(method)) = (message.get("id"), message.get("method")) else {
            return Ok(Some(message));
        };
        let result = if method == "workspace/configuration" {
            let items = message["params"]["items"].as_array().map_or(0, Vec::len);
            Value::Array(vec![self.settings.clone(); items])
        } else {
            Value::Null
        };
        self.write(&json!({"jsonrpc": "2.0", "id": id, "result": result}))?;
        Ok(None)
    }

    /// Tells the server something.
    pub(crate) fn notify(&mut self, method: &str, params: &Value) -> Result<()> {
        self.write(&json!({"jsonrpc": "2.0", "method": method, "params": params}))
    }

    fn request(&mut self, method: &str, params: &Value) -> Result<u64> {
        self.requests += 1;
        let id = self.requests;
        self.write(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))?;
        Ok(id)
    }

    fn write(&mut self, message: &Value) -> Result<()> {
        let text = message.to_string();
        write!(self.stdin, "Content-Length: {}\r\n\r\n{text}", text.len())
            .and_then(|()| self.stdin.flush())
            .context("writing to the language server")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.request("shutdown", &Value::Null);
        let _ = self.notify("exit", &Value::Null);
        let until = Instant::now() + FAREWELL;
        while Instant::now() < until {
            if self.child.try_wait().is_ok_and(|status| status.is_some()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A file's URI. (The paths of a benchmark have nothing that would have to be escaped but spaces.)
pub(crate) fn uri(path: &Path) -> String {
    format!("file://{}", path.display().to_string().replace('%', "%25").replace(' ', "%20"))
}

/// One message: headers, an empty line, and as many bytes of JSON as they say. `None` at the end.
fn read(from: &mut impl BufRead) -> Result<Option<Value>> {
    let mut length = None;
    loop {
        let mut line = String::new();
        if from.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = Some(value.trim().parse::<u64>().context("a length that is no number")?);
        }
    }
    let length = length.context("a message without a length")?;
    let mut bytes = Vec::new();
    from.take(length).read_to_end(&mut bytes)?;
    Ok(Some(serde_json::from_slice(&bytes).context("a message that is no JSON")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_one_after_the_other() {
        let text =
            "Content-Length: 7\r\nContent-Type: x\r\n\r\n{\"a\":1}content-length:2\r\n\r\n{}";
        let mut from = text.as_bytes();
        assert_eq!(read(&mut from).ok().flatten(), Some(json!({"a": 1})));
        assert_eq!(read(&mut from).ok().flatten(), Some(json!({})));
        assert!(read(&mut from).is_ok_and(|end| end.is_none()));
        assert!(read(&mut &b"x: y\r\n\r\n{}"[..]).is_err());
        assert_eq!(uri(Path::new("/a b/c%")), "file:///a%20b/c%25");
    }
}
