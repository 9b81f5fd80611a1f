//! `edgetwin version`.

use serde::Serialize;

use crate::outcome::Outcome;
use crate::output::{OutputArgs, print};

/// Print the version, and the contracts that it speaks
#[derive(Debug, clap::Args)]
pub(crate) struct VersionArgs {
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    version: &'static str,
    devices_api: &'static str,
    configuration_api: &'static str,
}

/// Prints the version.
///
/// # Errors
/// Nobody reads any more.
pub(crate) fn run(args: &VersionArgs) -> anyhow::Result<Outcome> {
    let version = Version {
        version: env!("CARGO_PKG_VERSION"),
        devices_api: device_model::API_VERSION,
        configuration_api: edge_agent::config::API_VERSION,
    };
    print(args.output.output, &version, |v| {
        format!(
            "edgetwin {}\ndevices: {}\nconfiguration: {}",
            v.version, v.devices_api, v.configuration_api
        )
    })?;
    Ok(Outcome::Done)
}
