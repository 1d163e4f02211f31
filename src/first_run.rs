//! The first run of a mosso that has nothing: a line that says how to see something.

use api::Addresses;
use mosso::config::Config;

/// Whether nothing was ever stored here. What lies in a bucket is not looked for.
pub fn is_first(config: &Config) -> bool {
    let is_empty = std::fs::read_dir(&config.data_dir).map_or(true, |mut entries| entries.next().is_none());
    is_empty && !config.storage.trace.backend.is_remote()
}

/// The command that sends something here, and where it can be seen.
pub fn advice(addresses: &Addresses) -> String {
    let api = addresses.http;
    let flags = match addresses.otlp_http {
        Some(otlp) if (otlp.port(), api.port()) == (4318, 3200) => String::new(),
        Some(otlp) => format!(" --endpoint http://{otlp} --url http://{api}"),
        None => match addresses.otlp_grpc {
            Some(otlp) => format!(" --endpoint http://{otlp} --protocol grpc --url http://{api}"),
            None => return "nothing is stored yet, and no receiver is on".to_owned(),
        },
    };
    format!(
        "nothing is stored yet: `mosso demo{flags}` sends the traffic of a small shop, http://{api}/ui/search shows it"
    )
}
