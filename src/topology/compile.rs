//! The clouds' published range files to lines: which region and service an address belongs to.
//!
//! | cloud | file | format |
//! | --- | --- | --- |
//! | AWS | ip-ranges.json | <https://docs.aws.amazon.com/vpc/latest/userguide/aws-ip-syntax.html> |
//! | GCP | cloud.json, goog.json | <https://cloud.google.com/vpc/docs/configure-private-google-access> |
//! | Azure | ServiceTags_Public_*.json | <https://learn.microsoft.com/en-us/azure/virtual-network/service-tags-overview> |
//!
//! Knows the files' forms; reads none.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

use super::join::join;
use super::lines::{Line, Wrong, is_name, range_of};
use super::scope::{Scope, Via};
use crate::flow::Cidr;

/// Whose files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cloud {
    /// Amazon.
    Aws,
    /// Google.
    Gcp,
    /// Microsoft.
    Azure,
}

impl Cloud {
    /// By its name.
    pub fn named(name: &str) -> Option<Cloud> {
        match name {
            "aws" => Some(Cloud::Aws),
            "gcp" => Some(Cloud::Gcp),
            "azure" => Some(Cloud::Azure),
            _ => None,
        }
    }
}

/// Which entries are wanted, and what is said of each besides.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// None of others; all where it is empty.
    pub regions: Vec<String>,
    /// None of others; all where it is empty.
    pub services: Vec<String>,
    /// Said in each line.
    pub scope: Option<Scope>,
    /// Said in each line.
    pub via: Via,
}

/// Why a file cannot be used.
#[derive(Debug)]
pub enum CompileError {
    /// Not the form that the cloud publishes.
    Form(serde_json::Error),
    /// What should be a range is none.
    Range(Wrong),
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CompileError::Form(error) => write!(f, "not the form of this cloud's file: {error}"),
            CompileError::Range(wrong) => wrong.fmt(f),
        }
    }
}

impl std::error::Error for CompileError {}

/// What the files say, one entry a range and service.
#[derive(Debug, Default)]
pub struct Entries(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    range: Cidr,
    region: String,
    /// As the file names it; empty for the cloud as a whole.
    service: String,
}

#[derive(Deserialize)]
struct Aws {
    prefixes: Vec<AwsPrefix>,
    #[serde(default)]
    ipv6_prefixes: Vec<AwsPrefix>,
}

#[derive(Deserialize)]
struct AwsPrefix {
    #[serde(alias = "ipv6_prefix")]
    ip_prefix: String,
    region: String,
    service: String,
}

#[derive(Deserialize)]
struct Gcp {
    prefixes: Vec<GcpPrefix>,
}

#[derive(Deserialize)]
struct GcpPrefix {
    #[serde(rename = "ipv4Prefix", alias = "ipv6Prefix")]
    prefix: String,
    /// Of cloud.json only, always "Google Cloud"; goog.json is of all that Google has.
    #[serde(default)]
    service: String,
    #[serde(default)]
    scope: String,
}

#[derive(Deserialize)]
struct Azure {
    values: Vec<AzureTag>,
}

#[derive(Deserialize)]
struct AzureTag {
    /// `Storage`, or `Storage.EastUS` for the part of a region.
    name: String,
    properties: AzureProperties,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AzureProperties {
    #[serde(default)]
    region: String,
    address_prefixes: Vec<String>,
}

impl Entries {
    /// Adds what a file says.
    ///
    /// # Errors
    /// [`CompileError`]; what was added of the file before stays.
    pub fn read(&mut self, cloud: Cloud, file: &[u8]) -> Result<(), CompileError> {
        match cloud {
            Cloud::Aws => {
                let Aws { prefixes, ipv6_prefixes } = serde_json::from_slice(file).map_err(CompileError::Form)?;
                for AwsPrefix { ip_prefix, region, service } in prefixes.into_iter().chain(ipv6_prefixes) {
                    // What is everywhere has no region.
                    let region = if region == "GLOBAL" { String::new() } else { region };
                    self.add(&ip_prefix, &region, &service)?;
                }
            }
            Cloud::Gcp => {
                let Gcp { prefixes } = serde_json::from_slice(file).map_err(CompileError::Form)?;
                for GcpPrefix { prefix, service, scope } in prefixes {
                    let region = if scope == "global" { "" } else { scope.as_str() };
                    self.add(&prefix, region, if service.is_empty() { "Google" } else { service.as_str() })?;
                }
            }
            Cloud::Azure => {
                let Azure { values } = serde_json::from_slice(file).map_err(CompileError::Form)?;
                for AzureTag { name, properties } in values {
                    let service = name.split('.').next().unwrap_or_default();
                    for prefix in &properties.address_prefixes {
                        self.add(prefix, &properties.region, service)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, range: &str, region: &str, service: &str) -> Result<(), CompileError> {
        let range = range_of(range).map_err(CompileError::Range)?;
        self.0.push(Entry { range, region: region.to_owned(), service: service.to_owned() });
        Ok(())
    }

    /// The lines, sorted and joined. Of several entries of one range the one with a region counts, then the one whose
    /// service has the fewest ranges. AMAZON and AzureCloud hold the ranges of all other services.
    pub fn lines(&self, cloud: Cloud, wanted: &Wanted, mut each: impl FnMut(&Line<'_>)) {
        let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
        for entry in &self.0 {
            *sizes.entry(&entry.service).or_default() += 1;
        }
        let size = |entry: &Entry| sizes.get(&*entry.service).copied().unwrap_or(usize::MAX);
        let is_wanted =
            |words: &[String], word: &str| words.is_empty() || words.iter().any(|w| w.eq_ignore_ascii_case(word));
        let mut chosen: Vec<&Entry> = self.0.iter().collect();
        chosen.sort_by_key(|entry| {
            (entry.range.first(), entry.range.prefix(), entry.region.is_empty(), size(entry), &*entry.service)
        });
        chosen.dedup_by_key(|entry| (entry.range.first(), entry.range.prefix()));
        let ranges = chosen
            .iter()
            .filter(|entry| is_wanted(&wanted.regions, &entry.region) && is_wanted(&wanted.services, &entry.service))
            .map(|entry| (entry.range, (&*entry.region, &*entry.service)));
        for (range, (region, service)) in join(ranges) {
            let service = service_name(cloud, service);
            let region = if is_name(region) { region } else { "" };
            each(&Line { range, scope: wanted.scope, via: wanted.via, zone: "", region, service: &service });
        }
    }
}

/// `aws-s3`, `gcp-google`, `azure-storage`; `aws`, `gcp` and `azure` where no more is known than whose it is.
fn service_name(cloud: Cloud, service: &str) -> String {
    let (cloud, whole) = match cloud {
        Cloud::Aws => ("aws", "AMAZON"),
        Cloud::Gcp => ("gcp", "Google Cloud"),
        Cloud::Azure => ("azure", "AzureCloud"),
    };
    if service == whole {
        return cloud.to_owned();
    }
    let letters = service.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' });
    let name: String = cloud.chars().chain(['-']).chain(letters).take(63).collect();
    name
}

#[cfg(test)]
mod tests;
