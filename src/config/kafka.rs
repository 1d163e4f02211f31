//! `distributor.receivers.kafka`, as the collector's receiver has it.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ::kafka::{Mechanism, Sasl, Start, Tls};
use api::{KafkaConfig, KafkaEncoding};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use storage::config::{GoDuration, Secret, optional_path};

/// What all partitions of a broker bring at a time.
const FETCH_BYTES: i32 = 8 << 20;
const MAX_FETCH_BYTES: i32 = 100 << 20;
/// How long the members of a group may take to join it anew, as Kafka's own clients have it.
const REBALANCE_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Kafka {
    /// `host:port` of some brokers, which name the others. Nothing is read unless the receiver is named.
    pub brokers: Vec<String>,
    /// The topic that spans are read from.
    pub topic: String,
    /// What a record is: `otlp_proto`, `otlp_json`, `jaeger_proto`, `zipkin_json`, `zipkin_proto`, `zipkin_thrift`.
    pub encoding: Encoding,
    /// Topic and encoding, where newer releases of the collector have them.
    pub traces: Traces,
    /// Processes of one group share the partitions, and go on where the group was.
    pub group_id: String,
    /// What brokers call the process in their logs.
    pub client_id: String,
    /// Where a group begins that has read nothing yet: `latest`, the default, or `earliest`.
    pub initial_offset: InitialOffset,
    /// How long the group waits for a sign of life before partitions go to others.
    pub session_timeout: GoDuration,
    /// How often a sign of life is sent.
    pub heartbeat_interval: GoDuration,
    /// Bytes of a partition that are fetched at a time, 1 MiB. A larger batch of records is fetched by itself.
    pub default_fetch_size: i32,
    /// How long a broker waits for records when there are none.
    pub max_fetch_wait: GoDuration,
    /// With it the brokers are spoken to by TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ClientTls>,
    pub auth: Auth,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Traces {
    /// In place of `topic`.
    pub topic: String,
    /// In place of `topic`; one.
    pub topics: Vec<String>,
    /// In place of `encoding`.
    pub encoding: String,
}

/// TLS to brokers. The files are read when the process starts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ClientTls {
    /// Whether there is no TLS after all, unless `ca_file` is set.
    pub insecure: bool,
    /// PEM file of the authorities that certificates of brokers must come from; without it, those of the system.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "optional_path")]
    pub ca_file: Option<PathBuf>,
    /// PEM file of the certificate that is shown to brokers.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "optional_path")]
    pub cert_file: Option<PathBuf>,
    /// PEM file of the certificate's key.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "optional_path")]
    pub key_file: Option<PathBuf>,
    /// The name that certificates of brokers must have, in place of the name that they are reached by.
    pub server_name_override: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// SASL's PLAIN.
    pub plain_text: User,
    pub sasl: SaslUser,
    /// As `tls` beside `auth`, where older releases of the collector have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ClientTls>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct User {
    /// Empty where brokers do not ask.
    pub username: String,
    /// Never shown. `${VARIABLE}` with `-config.expand-env` keeps it out of the file.
    pub password: Secret,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SaslUser {
    /// Empty where brokers do not ask.
    pub username: String,
    /// Never shown. `${VARIABLE}` with `-config.expand-env` keeps it out of the file.
    pub password: Secret,
    /// `PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512`.
    pub mechanism: MechanismName,
}

/// A text that names nothing that is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?} is not known; write {known}")]
pub struct UnknownName {
    what: &'static str,
    text: String,
    known: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Encoding(KafkaEncoding);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct MechanismName(Mechanism);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum InitialOffset {
    #[default]
    Latest,
    Earliest,
}

impl Default for MechanismName {
    fn default() -> Self {
        Self(Mechanism::Plain)
    }
}

impl TryFrom<String> for Encoding {
    type Error = UnknownName;

    fn try_from(text: String) -> Result<Self, UnknownName> {
        let found = KafkaEncoding::ALL.into_iter().find(|encoding| encoding.name() == text);
        let known = || KafkaEncoding::ALL.map(KafkaEncoding::name).join(", ");
        found.map(Self).ok_or_else(|| UnknownName { what: "encoding", known: known(), text })
    }
}

impl From<Encoding> for String {
    fn from(encoding: Encoding) -> Self {
        encoding.0.name().to_owned()
    }
}

impl TryFrom<String> for MechanismName {
    type Error = UnknownName;

    fn try_from(text: String) -> Result<Self, UnknownName> {
        let all = [Mechanism::Plain, Mechanism::ScramSha256, Mechanism::ScramSha512];
        let found = all.into_iter().find(|mechanism| mechanism.name() == text);
        let found = found.or_else(|| text.is_empty().then_some(Mechanism::Plain));
        found.map(Self).ok_or_else(|| UnknownName {
            what: "mechanism",
            known: all.map(Mechanism::name).join(", "),
            text,
        })
    }
}

impl From<MechanismName> for String {
    fn from(mechanism: MechanismName) -> Self {
        mechanism.0.name().to_owned()
    }
}

impl Default for Kafka {
    fn default() -> Self {
        Self {
            brokers: vec!["localhost:9092".to_owned()],
            topic: "otlp_spans".to_owned(),
            encoding: Encoding::default(),
            traces: Traces::default(),
            group_id: "otel-collector".to_owned(),
            client_id: "otel-collector".to_owned(),
            initial_offset: InitialOffset::default(),
            session_timeout: GoDuration::from_secs(10),
            heartbeat_interval: GoDuration::from_secs(3),
            default_fetch_size: 1 << 20,
            max_fetch_wait: GoDuration::from_millis(250),
            tls: None,
            auth: Auth::default(),
        }
    }
}

impl Kafka {
    pub(super) fn to_api(&self) -> Result<KafkaConfig, String> {
        if let Some(broker) = self.brokers.iter().find(|broker| !has_port(broker)) {
            return Err(format!("brokers: {broker:?} has no port; write it as host:9092"));
        }
        if !(1..=MAX_FETCH_BYTES).contains(&self.default_fetch_size) {
            return Err(format!("default_fetch_size must be between 1 and {MAX_FETCH_BYTES}"));
        }
        let (session, heartbeat) = (self.session_timeout.get(), self.heartbeat_interval.get());
        if heartbeat.is_zero() || heartbeat * 2 > session {
            return Err("heartbeat_interval must be longer than 0s and at most half of session_timeout".to_owned());
        }
        let consumer = ::kafka::Config {
            brokers: if self.brokers.is_empty() { Self::default().brokers } else { self.brokers.clone() },
            topic: self.topic()?,
            group: self.group_id.clone(),
            client: self.client_id.clone(),
            start: match self.initial_offset {
                InitialOffset::Latest => Start::Latest,
                InitialOffset::Earliest => Start::Earliest,
            },
            session_timeout: session,
            heartbeat_interval: heartbeat,
            rebalance_timeout: REBALANCE_TIMEOUT,
            partition_fetch_bytes: self.default_fetch_size,
            fetch_bytes: FETCH_BYTES.max(self.default_fetch_size),
            max_wait: self.max_fetch_wait.get(),
            tls: self.tls.as_ref().or(self.auth.tls.as_ref()).map(ClientTls::to_kafka).transpose()?.flatten(),
            sasl: self.auth.sasl(),
        };
        let Encoding(encoding) = match self.traces.encoding.as_str() {
            "" => self.encoding,
            of_traces => {
                Encoding::try_from(of_traces.to_owned()).map_err(|error| format!("traces.encoding: {error}"))?
            }
        };
        Ok(KafkaConfig { consumer, encoding })
    }

    fn topic(&self) -> Result<String, String> {
        let named = self.traces.topics.iter().chain(Some(&self.traces.topic)).filter(|topic| !topic.is_empty());
        match named.collect::<Vec<_>>()[..] {
            [] if self.topic.is_empty() => Err("topic: name one".to_owned()),
            [] => Ok(self.topic.clone()),
            [topic] if topic.starts_with('^') => Err(format!("topic: {topic:?} is a pattern; name the topic itself")),
            [topic] => Ok(topic.clone()),
            _ => Err("traces.topics: one topic is read; let whoever writes send to one".to_owned()),
        }
    }
}

fn has_port(broker: &str) -> bool {
    broker.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && u16::from_str(port).is_ok())
}

impl ClientTls {
    fn to_kafka(&self) -> Result<Option<Tls>, String> {
        if self.insecure && self.ca_file.is_none() {
            return Ok(None);
        }
        let certificate = match (self.cert_file.clone(), self.key_file.clone()) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err("tls: cert_file and key_file go together".to_owned()),
        };
        let server_name = (!self.server_name_override.is_empty()).then(|| self.server_name_override.clone());
        Ok(Some(Tls { ca_file: self.ca_file.clone(), certificate, server_name }))
    }
}

impl Auth {
    fn sasl(&self) -> Option<Sasl> {
        let SaslUser { username, password, mechanism: MechanismName(mechanism) } = &self.sasl;
        let user = |mechanism, username: &String, password: &Secret| Sasl {
            mechanism,
            username: username.clone(),
            password: password.expose().to_owned(),
        };
        match (username.is_empty(), self.plain_text.username.is_empty()) {
            (false, _) => Some(user(*mechanism, username, password)),
            (true, false) => Some(user(Mechanism::Plain, &self.plain_text.username, &self.plain_text.password)),
            (true, true) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    fn api(kafka: &str) -> Result<KafkaConfig, String> {
        let config = Config::parse(&format!("distributor: {{receivers: {{kafka: {kafka}}}}}"));
        Ok(config.map_err(|error| error.to_string())?.api().kafka.expect("the receiver is named"))
    }

    #[test]
    fn a_receiver_that_is_named_reads_what_the_collectors_does() {
        let KafkaConfig { consumer, encoding } = api("").unwrap();
        assert_eq!((consumer.brokers, consumer.topic), (vec!["localhost:9092".to_owned()], "otlp_spans".to_owned()));
        assert_eq!((consumer.group.as_str(), consumer.start), ("otel-collector", Start::Latest));
        assert_eq!((consumer.tls, consumer.sasl, encoding), (None, None, KafkaEncoding::OtlpProto));
        assert!(Config::default().api().kafka.is_none(), "nothing is read that nobody named");
        let newer =
            "{traces: {topics: [spans], encoding: zipkin_json}, initial_offset: earliest, tls: {insecure: true}}";
        let KafkaConfig { consumer, encoding } = api(newer).unwrap();
        assert_eq!((consumer.topic.as_str(), consumer.start), ("spans", Start::Earliest));
        assert_eq!((consumer.tls, encoding), (None, KafkaEncoding::ZipkinJson));
    }

    #[test]
    fn who_reads_is_said_in_either_form_and_never_shown() {
        let user = |text: &str| api(text).unwrap().consumer.sasl.unwrap();
        let plain = user("{auth: {plain_text: {username: a, password: hush}}}");
        assert_eq!((plain.mechanism, plain.password.as_str()), (Mechanism::Plain, "hush"));
        let scram = "{auth: {sasl: {username: a, password: hush, mechanism: SCRAM-SHA-512}}}";
        assert_eq!(user(scram).mechanism, Mechanism::ScramSha512);
        let config = Config::parse(&format!("distributor: {{receivers: {{kafka: {scram}}}}}")).unwrap();
        assert!(!config.to_yaml().contains("hush") && !format!("{config:?}").contains("hush"));
        assert!(!format!("{:?}", config.api()).contains("hush"));
    }

    #[test]
    fn what_cannot_be_is_told_with_its_mend() {
        for (kafka, expected) in [
            (
                "{brokers: [kafka]}",
                "distributor.receivers.kafka: brokers: \"kafka\" has no port; write it as host:9092",
            ),
            ("{traces: {encoding: raw}}", "traces.encoding: encoding \"raw\" is not known"),
            ("{encoding: raw}", "encoding \"raw\" is not known; write otlp_proto, otlp_json"),
            ("{auth: {sasl: {mechanism: AWS_MSK_IAM_OAUTHBEARER}}}", "write PLAIN, SCRAM-SHA-256, SCRAM-SHA-512"),
            ("{auth: {kerberos: {realm: a}}}", "Kerberos"),
            ("{tls: {insecure_skip_verify: true}}", "name the authority in ca_file"),
            ("{heartbeat_interval: 6s}", "at most half of session_timeout"),
            ("{traces: {topics: [a, b]}}", "one topic is read"),
            ("{topic: a, tls: {cert_file: a}}", "cert_file and key_file go together"),
            ("{tls: {ca_file: /nowhere/ca.pem}}", "/nowhere/ca.pem"),
            ("{default_fetch_size: 0}", "default_fetch_size must be between"),
            ("{brokrs: []}", "did you mean `brokers`"),
        ] {
            let error = api(kafka).expect_err(kafka);
            assert!(error.contains(expected), "{kafka}: {error}");
        }
    }
}
