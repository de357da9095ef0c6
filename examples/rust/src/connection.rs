//! Where the server is and how to speak to it.

use crate::v1::{attention_service_client::AttentionServiceClient, model_service_client::ModelServiceClient};
use anyhow::{Context, Result};
use clap::builder::FalseyValueParser;
use std::{fs, path::Path, path::PathBuf, time::Duration};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What the server sends at most by default; tonic alone would refuse answers of more than 4 MiB.
const MAX_MESSAGE_BYTES: usize = 256 << 20;

/// The flags of a connection and their variables, named as those of the command `qkv`.
#[derive(clap::Args)]
pub struct Connection {
    /// The server, as host:port
    #[arg(long, env = "QKV_TARGET", default_value = "localhost:50051")]
    target: String,
    /// Encrypt, trusting the system's authorities
    #[arg(long, env = "QKV_TLS", value_parser = FalseyValueParser::new())]
    tls: bool,
    /// Encrypt, trusting these authorities
    #[arg(long, env = "QKV_CA", value_name = "PEM")]
    ca: Option<PathBuf>,
    /// The certificate to show to the server
    #[arg(long, env = "QKV_CERTIFICATE", value_name = "PEM", requires = "certificate_key")]
    certificate: Option<PathBuf>,
    /// The key of that certificate
    #[arg(long, env = "QKV_CERTIFICATE_KEY", value_name = "PEM", requires = "certificate")]
    certificate_key: Option<PathBuf>,
    /// The name in the server's certificate, if it is not the host's
    #[arg(long, env = "QKV_SERVER_NAME", value_name = "NAME")]
    server_name: Option<String>,
}

impl Connection {
    /// A client of attention. Clones of it share its connection.
    pub fn attention(&self) -> Result<AttentionServiceClient<Channel>> {
        Ok(AttentionServiceClient::new(self.channel()?).max_decoding_message_size(MAX_MESSAGE_BYTES))
    }

    /// A client of whole models. Clones of it share its connection.
    pub fn models(&self) -> Result<ModelServiceClient<Channel>> {
        Ok(ModelServiceClient::new(self.channel()?).max_decoding_message_size(MAX_MESSAGE_BYTES))
    }

    /// A connection that is opened by the first call.
    fn channel(&self) -> Result<Channel> {
        let tls = self.tls_config()?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let mut endpoint =
            Endpoint::from_shared(format!("{scheme}://{}", self.target))?.connect_timeout(CONNECT_TIMEOUT);
        if let Some(tls) = tls {
            endpoint = endpoint.tls_config(tls)?;
        }
        Ok(endpoint.connect_lazy())
    }

    fn tls_config(&self) -> Result<Option<ClientTlsConfig>> {
        if !self.tls && self.ca.is_none() && self.certificate.is_none() {
            return Ok(None);
        }
        let mut config = ClientTlsConfig::new();
        config = match &self.ca {
            Some(ca) => config.ca_certificate(Certificate::from_pem(read(ca)?)),
            None => config.with_native_roots(),
        };
        if let (Some(certificate), Some(key)) = (&self.certificate, &self.certificate_key) {
            config = config.identity(Identity::from_pem(read(certificate)?, read(key)?));
        }
        if let Some(name) = &self.server_name {
            config = config.domain_name(name);
        }
        Ok(Some(config))
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
