//! A run as a trace in Chrome's trace event format, which `chrome://tracing` and Perfetto draw.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::cache::RunFile;

/// The trace of the run called `label`: an event for each stage that a worker took, on that worker's line.
pub fn trace(label: &str, run: &RunFile) -> Value {
    const PROCESS: u32 = 1;
    let meta = |name: &str, worker: usize, value: String| json!({ "name": name, "ph": "M", "pid": PROCESS, "tid": worker, "args": { "name": value } });
    let mut events = vec![meta("process_name", 0, format!("run {label} on {}", run.host))];
    let workers: BTreeSet<usize> = run.stages.iter().filter_map(|stage| stage.worker).collect();
    events.extend(
        workers.iter().map(|worker| meta("thread_name", *worker, format!("worker {worker}"))),
    );
    for stage in &run.stages {
        let Some(worker) = stage.worker else { continue };
        let mut arguments = json!({
            "outcome": stage.outcome,
            "reason": stage.reason,
            "fingerprint": stage.fingerprint,
        });
        if let Some(error) = &stage.error {
            arguments["error"] = json!(error.message);
        }
        events.push(json!({
            "name": stage.name,
            "cat": stage.outcome,
            "ph": "X",
            "ts": stage.began,
            "dur": stage.took,
            "pid": PROCESS,
            "tid": worker,
            "args": arguments,
        }));
    }
    let about = json!({ "run": label, "started": run.started, "pipeline": run.pipeline, "version": run.version });
    json!({ "traceEvents": events, "displayTimeUnit": "ms", "otherData": about })
}
