//! Reads a kubeconfig (`kubectl config view` shows one) into an [`Endpoint`].
//!
//! An unsupported setting is refused by its name, never ignored: the connection would differ from what its owner asked
//! for.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::endpoint::{Auth, Endpoint};
use super::exec::Plugin;
use super::secret::{Material, checked_token, read_file};

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    #[serde(default)]
    current_context: Option<String>,
    #[serde(default)]
    contexts: Option<Vec<NamedContext>>,
    #[serde(default)]
    clusters: Option<Vec<NamedCluster>>,
    #[serde(default)]
    users: Option<Vec<NamedUser>>,
}

#[derive(Deserialize)]
struct NamedContext {
    name: String,
    context: Context,
}

#[derive(Deserialize)]
struct Context {
    cluster: String,
    user: Option<String>,
}

#[derive(Deserialize)]
struct NamedCluster {
    name: String,
    cluster: Cluster,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster {
    server: Option<String>,
    certificate_authority: Option<PathBuf>,
    certificate_authority_data: Option<String>,
    insecure_skip_tls_verify: Option<bool>,
    tls_server_name: Option<String>,
    proxy_url: Option<String>,
}

#[derive(Deserialize)]
struct NamedUser {
    name: String,
    user: Option<User>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
struct User {
    client_certificate: Option<PathBuf>,
    client_certificate_data: Option<String>,
    client_key: Option<PathBuf>,
    client_key_data: Option<String>,
    token: Option<String>,
    #[serde(rename = "tokenFile")]
    token_file: Option<PathBuf>,
    exec: Option<Exec>,
    username: Option<serde::de::IgnoredAny>,
    password: Option<serde::de::IgnoredAny>,
    auth_provider: Option<serde::de::IgnoredAny>,
    #[serde(rename = "as")]
    impersonate: Option<serde::de::IgnoredAny>,
    as_uid: Option<serde::de::IgnoredAny>,
    as_groups: Option<serde::de::IgnoredAny>,
    as_user_extra: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Exec {
    command: String,
    args: Option<Vec<String>>,
    env: Option<Vec<ExecEnv>>,
    api_version: Option<String>,
    install_hint: Option<String>,
    provide_cluster_info: Option<bool>,
    interactive_mode: Option<String>,
}

#[derive(Deserialize)]
struct ExecEnv {
    name: String,
    value: String,
}

/// Reads the file. Its relative paths start at its directory.
pub fn load(path: &Path) -> Result<Endpoint, String> {
    let text = decode(read_file(path)?)?;
    parse(&text, path.parent().unwrap_or(Path::new(".")), &path.display().to_string())
}

/// Decodes UTF-8 or UTF-16, with or without a byte order mark: editors on Windows write all of these.
fn decode(bytes: Vec<u8>) -> Result<String, String> {
    let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]])).collect();
        String::from_utf16(&units)
            .map_err(|_| "it is not UTF-16, although it starts with its byte order mark".to_owned())
    };
    match bytes.as_slice() {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8(rest.to_vec()).map_err(|_| "it is not UTF-8".to_owned()),
        _ => String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned()),
    }
}

/// Parses YAML (or JSON, which is YAML).
pub fn parse(text: &str, directory: &Path, origin: &str) -> Result<Endpoint, String> {
    // The parser's messages name line and column and may name a key; they quote values only where a type is wrong.
    let file: File = yaml_serde::from_str(text).map_err(|error| {
        let place =
            error.location().map_or(String::new(), |at| format!(" at line {}, column {}", at.line(), at.column()));
        format!("it is not a kubeconfig{place}")
    })?;
    let wanted = file.current_context.filter(|name| !name.is_empty()).ok_or("current-context is not set")?;
    let context = file.contexts.into_iter().flatten().find(|context| context.name == wanted);
    let context = context.ok_or_else(|| format!("current-context {wanted:?} is not among its contexts"))?.context;
    let cluster = file.clusters.into_iter().flatten().find(|cluster| cluster.name == context.cluster);
    let cluster = cluster.ok_or_else(|| format!("cluster {:?} is not among its clusters", context.cluster))?.cluster;
    let user = match context.user.filter(|name| !name.is_empty()) {
        None => User::default(),
        Some(name) => {
            let user = file.users.into_iter().flatten().find(|user| user.name == name);
            user.ok_or_else(|| format!("user {name:?} is not among its users"))?.user.unwrap_or_default()
        }
    };
    endpoint(cluster, user, directory, origin)
}

fn endpoint(cluster: Cluster, user: User, directory: &Path, origin: &str) -> Result<Endpoint, String> {
    let refused = [
        ("cluster.tls-server-name", cluster.tls_server_name.as_ref().is_some_and(|name| !name.is_empty())),
        ("user.auth-provider (use an exec plugin)", user.auth_provider.is_some()),
        ("user.username (use a token or a certificate)", user.username.is_some()),
        ("user.password (use a token or a certificate)", user.password.is_some()),
        ("user.as", user.impersonate.is_some()),
        ("user.as-uid", user.as_uid.is_some()),
        ("user.as-groups", user.as_groups.is_some()),
        ("user.as-user-extra", user.as_user_extra.is_some()),
    ];
    if let Some((name, _)) = refused.iter().find(|(_, given)| *given) {
        return Err(format!("{name} is not supported"));
    }
    let url = cluster.server.filter(|url| !url.is_empty()).ok_or("the cluster has no server")?;
    let url = url.trim_end_matches('/').to_owned();
    let secure = url.starts_with("https://");
    if !secure && !url.starts_with("http://") {
        return Err("cluster.server does not start with https:// or http://".to_owned());
    }
    if url.contains('@') {
        return Err("cluster.server with a user in it is not supported".to_owned());
    }
    let proxy = cluster.proxy_url.filter(|proxy| !proxy.is_empty());
    if proxy.as_ref().is_some_and(|proxy| !proxy.starts_with("http://") && !proxy.starts_with("https://")) {
        return Err("cluster.proxy-url other than http:// and https:// is not supported".to_owned());
    }
    let ca = material(
        cluster.certificate_authority_data,
        cluster.certificate_authority,
        directory,
        "certificate-authority",
    )?;
    let insecure = cluster.insecure_skip_tls_verify.unwrap_or(false);
    if insecure && ca.is_some() {
        return Err("insecure-skip-tls-verify and certificate-authority exclude each other".to_owned());
    }
    let certificate = material(user.client_certificate_data, user.client_certificate, directory, "client-certificate")?;
    let key = material(user.client_key_data, user.client_key, directory, "client-key")?;
    let client = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(_), None) => return Err("client-certificate without client-key".to_owned()),
        (None, Some(_)) => return Err("client-key without client-certificate".to_owned()),
    };
    let info = user.exec.as_ref().and_then(|exec| exec.provide_cluster_info).unwrap_or(false).then(|| {
        let mut info = serde_json::json!({ "server": url, "insecure-skip-tls-verify": insecure });
        if let Some(Ok(ca)) = ca.as_ref().map(Material::read) {
            info["certificate-authority-data"] = STANDARD.encode(ca).into();
        }
        info
    });
    // As in kubectl, a token file takes precedence over a token; a plugin runs only if there is neither.
    let auth = match (user.token_file.filter(|path| !path.as_os_str().is_empty()), user.token, user.exec) {
        (Some(path), _, None) => Auth::TokenFile(directory.join(path)),
        (None, Some(token), None) if !token.is_empty() => Auth::Token(checked_token(token.as_bytes(), "the user")?),
        (None, None, Some(exec)) => Auth::Plugin(plugin(exec, directory, info)?),
        (_, _, Some(_)) => return Err("user.exec beside user.token or user.tokenFile".to_owned()),
        _ => Auth::Anonymous,
    };
    Ok(Endpoint { url, origin: origin.to_owned(), ca, insecure, client, auth, proxy })
}

/// Base64 in the file takes precedence over a path, as in kubectl.
fn material(
    data: Option<String>,
    path: Option<PathBuf>,
    directory: &Path,
    name: &str,
) -> Result<Option<Material>, String> {
    if let Some(data) = data.filter(|data| !data.is_empty()) {
        let text: String = data.split_ascii_whitespace().collect();
        return match STANDARD.decode(text) {
            Ok(pem) => Ok(Some(Material::Text(pem))),
            Err(_) => Err(format!("{name}-data is not base64")),
        };
    }
    Ok(path.filter(|path| !path.as_os_str().is_empty()).map(|path| Material::File(directory.join(path))))
}

fn plugin(exec: Exec, directory: &Path, info: Option<serde_json::Value>) -> Result<Plugin, String> {
    let api_version = exec.api_version.unwrap_or_default();
    if !matches!(api_version.as_str(), "client.authentication.k8s.io/v1" | "client.authentication.k8s.io/v1beta1") {
        return Err(format!("user.exec with apiVersion {api_version:?} is not supported"));
    }
    if exec.interactive_mode.as_deref() == Some("Always") {
        return Err("user.exec with interactiveMode Always is not supported: nobody can answer".to_owned());
    }
    let command = if exec.command.contains('/') { directory.join(&exec.command) } else { exec.command.into() };
    if command.as_os_str().is_empty() {
        return Err("user.exec without a command".to_owned());
    }
    Ok(Plugin {
        command,
        args: exec.args.unwrap_or_default(),
        env: exec.env.into_iter().flatten().map(|pair| (pair.name, pair.value)).collect(),
        api_version,
        cluster: info,
        install_hint: exec.install_hint.unwrap_or_default(),
    })
}
