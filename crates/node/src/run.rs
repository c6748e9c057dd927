//! What every binary's `main` does: settings, logger, runtime, signals, exit code.

use std::process::ExitCode;

use crate::{
    config::{Loaded, Loader, Settings},
    shutdown::Shutdown,
    telemetry,
};

/// Exit code of a binary whose settings cannot be used.
const BAD_SETTINGS: u8 = 2;

/// Runs a binary: loads its settings, logs to stderr, and runs `role` until it returns. The role gets a [`Shutdown`]
/// that SIGTERM and SIGINT trigger. Exit code 0 if it returns `Ok`, 1 if not, 2 if the settings cannot be used.
pub fn run<F, Fut, E>(loader: &Loader, role: F) -> ExitCode
where
    F: FnOnce(Settings, Shutdown) -> Fut,
    Fut: Future<Output = Result<(), E>>,
    E: std::fmt::Display,
{
    run_loaded(loader.load(), role)
}

/// Like [`run`], for a binary that loaded its settings itself, from arguments of its own choice.
pub fn run_loaded<F, Fut, E>(loaded: Result<Loaded, longbow_types::Error>, role: F) -> ExitCode
where
    F: FnOnce(Settings, Shutdown) -> Fut,
    Fut: Future<Output = Result<(), E>>,
    E: std::fmt::Display,
{
    let settings = match loaded {
        Ok(Loaded::Run(settings)) => settings,
        Ok(Loaded::Print(text)) => {
            print(&text);
            return ExitCode::SUCCESS;
        }
        Ok(Loaded::Refused(refused)) => {
            print(refused.printed.as_deref().unwrap_or_default());
            for warning in &refused.warnings {
                eprintln!("warning: {warning}");
            }
            return refuse(&refused.error);
        }
        Err(error) => return refuse(&error),
    };
    let logging = settings
        .parsed("log.format", "text or json")
        .and_then(|format| telemetry::init_logging(settings.str("log.level")?, format));
    if let Err(error) = logging {
        return refuse(&error);
    }
    for warning in settings.warnings() {
        tracing::warn!("{warning}");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "cannot start the runtime");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(async {
        let shutdown = Shutdown::new();
        if let Err(error) = shutdown.on_signals() {
            tracing::error!(%error, "cannot listen for signals");
            return ExitCode::FAILURE;
        }
        match role(settings, shutdown).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                tracing::error!("{error:#}");
                ExitCode::FAILURE
            }
        }
    });
    // A blocking task that hangs on a dead disk must not keep the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    code
}

fn print(text: &str) {
    use std::io::Write as _;
    // A closed pipe (`--help | head`) is no error of ours.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn refuse(error: &longbow_types::Error) -> ExitCode {
    eprintln!("error: {}", error.message);
    if let Some(limit) = &error.limit {
        eprintln!("  accepted: {limit}");
    }
    ExitCode::from(BAD_SETTINGS)
}
