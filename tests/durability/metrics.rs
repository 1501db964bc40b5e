//! `--metrics-listen` of the real binary (OPS-4).

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use crate::ports::free_port;
use crate::process::http;

/// `doorward dev` with its own words about metrics.
fn dev(folder: &Path, listen: &str, metrics: Option<&str>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_doorward"));
    command.env_clear().current_dir(folder).args(["dev", "--log-format", "json", "--listen", listen]);
    if let Some(address) = metrics {
        command.env("DOORWARD_METRICS_LISTEN", address);
    }
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A process that is killed at the end of its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn answer(url: &str) -> Option<String> {
    for _ in 0..2_400 {
        if let Ok(answer) = http().get(url).send().await {
            return Some(answer.text().await.unwrap()).filter(|text| !text.is_empty());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    None
}

// OPS-4
#[tokio::test]
async fn the_process_tells_of_itself_on_the_address_that_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let (public, metrics) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    let mut command = dev(folder.path(), &public, Some(&metrics));
    let _running = Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let text = answer(&format!("http://{metrics}/metrics")).await.unwrap();
    assert!(text.ends_with("# EOF\n"), "{text}");
    let value = |name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name}\n{text}"));
        line.trim().parse().unwrap()
    };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((now - value("process_start_time_seconds ")).abs() < 300.0);
    assert!(value("doorward_open_connections ") >= 0.0);
    if cfg!(target_os = "linux") {
        assert!(value("process_resident_memory_bytes ") > 1_000_000.0);
        assert!(value("process_open_fds ") > 3.0);
        assert!(value("process_cpu_seconds_total ") >= 0.0);
    }
}

// OPS-4
#[tokio::test]
async fn a_busy_address_that_was_asked_for_stops_the_start_and_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = busy.local_addr().unwrap().to_string();
    let output = dev(folder.path(), "127.0.0.1:0", Some(&address)).output().unwrap();
    let text = said(&output);
    assert!(!output.status.success(), "{text}");
    assert!(text.contains(&format!("--metrics-listen {address}")) && text.contains("`off`"), "{text}");
}

// OPS-4
#[tokio::test]
async fn a_busy_default_address_costs_the_metrics_and_not_the_start() {
    let folder = tempfile::tempdir().unwrap();
    // Whoever has it already serves as well.
    let _busy = TcpListener::bind("127.0.0.1:9001");
    let public = format!("127.0.0.1:{}", free_port());
    let log = folder.path().join("log");
    let mut command = dev(folder.path(), &public, None);
    command.stdout(Stdio::null()).stderr(std::fs::File::create(&log).unwrap());
    let _running = Running(command.spawn().unwrap());
    assert_eq!(answer(&format!("http://{public}/livez")).await.as_deref(), Some("ok\n"));
    // What is logged is written by a thread of its own.
    let mut text = String::new();
    for _ in 0..2_400 {
        text = std::fs::read_to_string(&log).unwrap();
        if text.contains("metrics_off") && text.contains("--metrics-listen") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{text}");
}

// OPS-4, OPS-10
#[tokio::test]
async fn dev_tells_its_metrics_to_this_machine_only() {
    let folder = tempfile::tempdir().unwrap();
    for (address, complaint) in [("0.0.0.0:0", "not a loopback address"), ("9001", "or `off`")] {
        let output = dev(folder.path(), "127.0.0.1:0", Some(address)).output().unwrap();
        assert!(!output.status.success() && said(&output).contains(complaint), "{}", said(&output));
    }
}

// OPS-3, OPS-4: a log that is not read, as by a container's engine whose disk is full.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_nobody_reads_holds_up_no_call_and_what_is_lost_of_it_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let (public, metrics) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    let mut command = dev(folder.path(), &public, Some(&metrics));
    let _running = Running(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let metrics = format!("http://{metrics}/metrics");
    assert!(answer(&metrics).await.unwrap().contains("doorward_log_lines_lost_total 0\n"));
    // Each is refused, which is a line. The pipe holds some hundred of them.
    let callers = (0..8).map(|_| {
        let (client, url) = (http(), format!("http://{public}/mcp/demo"));
        tokio::spawn(async move {
            for _ in 0..1_600 {
                assert_eq!(client.get(&url).send().await.unwrap().status(), 401);
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    let text = answer(&metrics).await.unwrap();
    let lost = text.lines().find_map(|line| line.strip_prefix("doorward_log_lines_lost_total ")).unwrap();
    assert!((1..12_800).contains(&lost.parse::<u32>().unwrap()), "{lost}");
}
