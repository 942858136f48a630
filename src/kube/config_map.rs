//! A ConfigMap that holds a published text: read, made, changed where nobody else changed it meanwhile.

use std::collections::HashMap;
use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::client::Client;
use super::watch::Failure;
use crate::clock::Now;
use crate::topology::publish::Published;

/// The API server takes 1 MiB of values; an answer has them in base64, and managed fields besides.
const ANSWER_MAX_BYTES: u64 = 4 << 20;
/// What the API server takes.
const VALUE_MAX_BYTES: usize = 1_000_000;
const CONFLICT: u16 = 409;
const NOT_FOUND: u16 = 404;

/// One key of one ConfigMap.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The key, which is the name of the file where it is mounted.
    pub key: String,
}

/// What is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    version: String,
    /// Under the key.
    pub value: Option<Published>,
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is there.
    Done,
    /// Somebody else was there first: read again.
    Overtaken,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConfigMap {
    metadata: Metadata,
    #[serde(default)]
    data: HashMap<String, String>,
    #[serde(default)]
    binary_data: HashMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    resource_version: String,
}

/// Reads it; none where there is no such ConfigMap.
///
/// # Errors
/// [`Failure`].
pub fn read(client: &mut Client, now: Now, place: &Place) -> Result<Option<Found>, Failure> {
    let answer = match client.config_map(now, &place.namespace, &place.name) {
        Ok(answer) => answer,
        Err(Failure::Refused { code: NOT_FOUND, .. }) => return Ok(None),
        Err(failure) => return Err(failure),
    };
    let mut text = Vec::new();
    answer.take(ANSWER_MAX_BYTES).read_to_end(&mut text).map_err(|error| Failure::Network(error.to_string()))?;
    let mut map: ConfigMap =
        serde_json::from_slice(&text).map_err(|error| Failure::Unreadable(format!("no ConfigMap: {error}")))?;
    let packed = map.binary_data.get(&place.key).and_then(|text| STANDARD.decode(text).ok()).map(Published::Packed);
    let value = packed.or_else(|| map.data.remove(&place.key).map(Published::Plain));
    Ok(Some(Found { version: map.metadata.resource_version, value }))
}

/// Writes the key: into what was found, unless that was changed meanwhile, else into a ConfigMap of its own.
///
/// # Errors
/// [`Failure`]; [`Failure::Refused`] without a request where the value is larger than the API server takes.
pub fn write(
    client: &mut Client,
    now: Now,
    place: &Place,
    found: Option<&Found>,
    value: &Published,
) -> Result<Written, Failure> {
    if value.len() > VALUE_MAX_BYTES {
        let message = format!("{} bytes are more than a ConfigMap holds ({VALUE_MAX_BYTES})", value.len());
        return Err(Failure::Refused { code: 413, message });
    }
    let key = quoted(&place.key);
    // The key may stand in one of both only.
    let (data, binary) = match value {
        Published::Plain(text) => (quoted(text), "null".to_owned()),
        Published::Packed(bytes) => ("null".to_owned(), quoted(&STANDARD.encode(bytes))),
    };
    let written = match found {
        Some(found) => {
            let body = format!(
                r#"{{"metadata":{{"resourceVersion":{}}},"data":{{{key}:{data}}},"binaryData":{{{key}:{binary}}}}}"#,
                quoted(&found.version)
            );
            client.patch_config_map(now, &place.namespace, &place.name, &body)
        }
        None => {
            let (field, text) = if binary == "null" { ("data", data) } else { ("binaryData", binary) };
            let body = format!(
                r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":{},"labels":{{"app.kubernetes.io/managed-by":"zxporter-netmon"}}}},"{field}":{{{key}:{text}}}}}"#,
                quoted(&place.name)
            );
            client.create_config_map(now, &place.namespace, &body)
        }
    };
    match written {
        Ok(()) => Ok(Written::Done),
        Err(Failure::Refused { code: CONFLICT, .. }) => Ok(Written::Overtaken),
        Err(failure) => Err(failure),
    }
}

/// As a string of JSON.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
