//! A `vestibule soak` as a process, and what it leaves.

use crate::vestibule;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

/// A load that an unoptimised build carries on a busy machine.
const GENTLE: [&str; 4] = ["--rate", "300", "--tcp-rate", "3"];

/// A soak under way, with files of its own.
#[derive(Debug)]
pub struct Soak {
    /// Its process.
    pub child: Child,
    json: PathBuf,
    html: PathBuf,
}

/// What a soak left.
#[derive(Debug)]
pub struct Outcome {
    /// Its exit status.
    pub code: Option<i32>,
    /// Its report; null for none.
    pub report: Value,
    /// The report as a page.
    pub page: String,
    /// The verdict's line, and what else is on stdout.
    pub out: String,
    /// What it told meanwhile.
    pub err: String,
}

impl Soak {
    /// Starts one with a gentle load.
    ///
    /// # Panics
    /// There is no such program.
    #[must_use]
    pub fn start(arguments: &[&str]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("vestibule-soak-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let [json, html] = ["json", "html"].map(|kind| std::env::temp_dir().join(format!("{name}.{kind}")));
        let mut command = Command::new(vestibule());
        command.arg("soak").args(GENTLE).args(arguments).arg("--json").arg(&json).arg("--html").arg(&html);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        Self { child: child.unwrap(), json, html }
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// Its output is no text.
    #[must_use]
    pub fn finish(mut self) -> Outcome {
        let (out, err) = (self.child.stdout.take().unwrap(), self.child.stderr.take());
        let reader = thread::spawn(move || err.map(std::io::read_to_string).transpose().unwrap().unwrap_or_default());
        let out = std::io::read_to_string(out).unwrap();
        let code = self.child.wait().unwrap().code();
        let report = serde_json::from_slice(&fs::read(&self.json).unwrap_or_default()).unwrap_or(Value::Null);
        let page = fs::read_to_string(&self.html).unwrap_or_default();
        Outcome { code, report, page, out, err: reader.join().unwrap() }
    }
}

impl Drop for Soak {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.json);
        let _ = fs::remove_file(&self.html);
    }
}

/// It lost nothing, and its report and page say what it did.
///
/// # Panics
/// Otherwise.
pub fn assert_clean(outcome: &Outcome, transport: &str) {
    let Outcome { code, report, page, out, err } = outcome;
    assert_eq!(*code, Some(0), "{out}{err}");
    assert!(out.starts_with(&format!("soak PASSED: {transport} over ")) && out.lines().count() == 1, "{out}");
    assert_eq!(report["schema"], 1, "{report}");
    assert_eq!(report["verdict"]["passed"], true, "{report}");
    for way in ["up", "down"] {
        for zero in ["lost", "lost_by_faults", "duplicated", "reordered", "corrupted"] {
            assert_eq!(report["traffic"][way][zero], 0, "{way} {zero}: {report}");
        }
        assert!(report["traffic"][way]["received"].as_u64().unwrap() > 500, "{report}");
    }
    let samples = report["samples"].as_array().unwrap();
    assert!(samples.len() > 3, "{report}");
    for held in ["resident", "handles"] {
        assert!(samples.iter().all(|sample| sample["processes"][0][held].as_u64().unwrap() > 0), "{held}: {report}");
    }
    let swaps = &report["swaps"];
    assert!(swaps["done"].as_u64().unwrap() >= 3 && swaps["audited"] == swaps["done"], "{report}");
    assert!(page.contains("<h2>Throughput</h2>") && page.ends_with("</html>\n"), "{page}");
}
