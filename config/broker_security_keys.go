package config

// securityKeys are about who may do what, and about secrets.
var securityKeys = []Key{
	{Name: "authorizer.class.name", Type: String, Default: "", Doc: "The class that decides who may do what; empty lets everybody do everything."},
	{Name: "super.users", Type: String, Null: true, Doc: "Principals that may do everything, separated by semicolons."},
	{Name: "allow.everyone.if.no.acl.found", Type: Boolean, Default: "false", Doc: "Whether a resource without ACLs is open to everybody."},
	{Name: "principal.builder.class", Type: Class, Default: "org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder", Update: PerBroker, Doc: "The Java class that names the principal of a connection."},
	{Name: "password.encoder.secret", Type: Password, Null: true, Doc: "The secret that passwords in ZooKeeper are encrypted with."},
	{Name: "password.encoder.old.secret", Type: Password, Null: true, Doc: "The secret that passwords in ZooKeeper used to be encrypted with."},
	{Name: "password.encoder.keyfactory.algorithm", Type: String, Null: true, Doc: "How a key is made from the secret."},
	{Name: "password.encoder.cipher.algorithm", Type: String, Default: "AES/CBC/PKCS5Padding", Doc: "How passwords are encrypted."},
	{Name: "password.encoder.key.length", Type: Int, Default: "128", check: atLeast(8), Doc: "The length of the key, in bits."},
	{Name: "password.encoder.iterations", Type: Int, Default: "4096", check: atLeast(1024), Doc: "How often the secret is hashed."},
	{Name: "delegation.token.secret.key", Type: Password, Null: true, Doc: "The secret of delegation tokens."},
	{Name: "delegation.token.master.key", Type: Password, Null: true, Doc: "The older name of delegation.token.secret.key."},
	{Name: "delegation.token.max.lifetime.ms", Type: Long, Default: "604800000", check: atLeast(1), Doc: "How long a delegation token can live."},
	{Name: "delegation.token.expiry.time.ms", Type: Long, Default: "86400000", check: atLeast(1), Doc: "How long a delegation token lives unless it is renewed."},
	{Name: "delegation.token.expiry.check.interval.ms", Type: Long, Default: "3600000", check: atLeast(1), Doc: "How often to look for expired delegation tokens."},
}

// tlsKeys are about TLS on the listeners.
var tlsKeys = []Key{
	{Name: "ssl.protocol", Type: String, Default: "TLSv1.3", Update: PerBroker, Doc: "The TLS version."},
	{Name: "ssl.provider", Type: String, Null: true, Update: PerBroker, Doc: "The Java security provider."},
	{Name: "ssl.enabled.protocols", Type: List, Default: "TLSv1.2,TLSv1.3", Update: PerBroker, Doc: "The TLS versions that are accepted."},
	{Name: "ssl.cipher.suites", Type: List, Default: "", Update: PerBroker, Doc: "The cipher suites that are accepted; empty for the usual ones."},
	{Name: "ssl.keystore.type", Type: String, Default: "JKS", Update: PerBroker, Doc: "The format of the key store: JKS, PKCS12 or PEM."},
	{Name: "ssl.keystore.location", Type: String, Null: true, Update: PerBroker, Doc: "The file of the key store."},
	{Name: "ssl.keystore.password", Type: Password, Null: true, Update: PerBroker, Doc: "The password of the key store."},
	{Name: "ssl.keystore.key", Type: Password, Null: true, Update: PerBroker, Doc: "The private key in PEM."},
	{Name: "ssl.keystore.certificate.chain", Type: Password, Null: true, Update: PerBroker, Doc: "The certificate chain in PEM."},
	{Name: "ssl.key.password", Type: Password, Null: true, Update: PerBroker, Doc: "The password of the private key."},
	{Name: "ssl.truststore.type", Type: String, Default: "JKS", Update: PerBroker, Doc: "The format of the trust store: JKS, PKCS12 or PEM."},
	{Name: "ssl.truststore.location", Type: String, Null: true, Update: PerBroker, Doc: "The file of the trust store."},
	{Name: "ssl.truststore.password", Type: Password, Null: true, Update: PerBroker, Doc: "The password of the trust store."},
	{Name: "ssl.truststore.certificates", Type: Password, Null: true, Update: PerBroker, Doc: "The trusted certificates in PEM."},
	{Name: "ssl.keymanager.algorithm", Type: String, Default: "SunX509", Update: PerBroker, Doc: "The Java key manager."},
	{Name: "ssl.trustmanager.algorithm", Type: String, Default: "PKIX", Update: PerBroker, Doc: "The Java trust manager."},
	{Name: "ssl.endpoint.identification.algorithm", Type: String, Default: "https", Update: PerBroker, Doc: "Whether the name in a certificate has to be that of the host; empty switches the check off."},
	{Name: "ssl.secure.random.implementation", Type: String, Null: true, Update: PerBroker, Doc: "The Java source of randomness."},
	{Name: "ssl.client.auth", Type: String, Default: "none", check: oneOf("required", "requested", "none"), Update: PerBroker, Doc: "Whether clients have to show a certificate."},
	{Name: "ssl.principal.mapping.rules", Type: String, Default: "DEFAULT", Doc: "How a certificate's name becomes a principal."},
	{Name: "ssl.engine.factory.class", Type: Class, Null: true, Update: PerBroker, Doc: "The Java class that makes TLS engines."},
	{Name: "ssl.allow.dn.changes", Type: Boolean, Default: "false", Doc: "Whether a new certificate may have another name."},
	{Name: "ssl.allow.san.changes", Type: Boolean, Default: "false", Doc: "Whether a new certificate may have other alternative names."},
}

// saslKeys are about SASL on the listeners.
var saslKeys = []Key{
	{Name: "sasl.mechanism.inter.broker.protocol", Type: String, Default: "GSSAPI", Update: PerBroker, Doc: "The SASL mechanism that brokers use among themselves."},
	{Name: "sasl.enabled.mechanisms", Type: List, Default: "GSSAPI", Update: PerBroker, Doc: "The SASL mechanisms that clients may use."},
	{Name: "sasl.jaas.config", Type: Password, Null: true, Update: PerBroker, Doc: "The JAAS login context."},
	{Name: "sasl.client.callback.handler.class", Type: Class, Null: true, Doc: "A Java class that answers SASL callbacks of clients."},
	{Name: "sasl.server.callback.handler.class", Type: Class, Null: true, Doc: "A Java class that answers SASL callbacks of servers."},
	{Name: "sasl.login.callback.handler.class", Type: Class, Null: true, Doc: "A Java class that answers login callbacks."},
	{Name: "sasl.login.class", Type: Class, Null: true, Doc: "A Java class that logs in."},
	{Name: "sasl.kerberos.service.name", Type: String, Null: true, Update: PerBroker, Doc: "The Kerberos name of the service."},
	{Name: "sasl.kerberos.kinit.cmd", Type: String, Default: "/usr/bin/kinit", Update: PerBroker, Doc: "The kinit command."},
	{Name: "sasl.kerberos.ticket.renew.window.factor", Type: Double, Default: "0.8", Update: PerBroker, Doc: "After which part of its life a ticket is renewed."},
	{Name: "sasl.kerberos.ticket.renew.jitter", Type: Double, Default: "0.05", Update: PerBroker, Doc: "How much the renewal is moved at random."},
	{Name: "sasl.kerberos.min.time.before.relogin", Type: Long, Default: "60000", Update: PerBroker, Doc: "How long to wait between logins."},
	{Name: "sasl.kerberos.principal.to.local.rules", Type: List, Default: "DEFAULT", Update: PerBroker, Doc: "How a Kerberos principal becomes a short name."},
	{Name: "sasl.server.max.receive.size", Type: Int, Default: "524288", Doc: "The largest SASL message."},
}

// zooKeeperTLSKeys are about TLS to ZooKeeper.
var zooKeeperTLSKeys = []Key{
	{Name: "zookeeper.ssl.client.enable", Type: Boolean, Default: "false", Doc: "Whether the connection to ZooKeeper uses TLS."},
	{Name: "zookeeper.clientCnxnSocket", Type: String, Null: true, Doc: "The Java class of the connection to ZooKeeper."},
	{Name: "zookeeper.ssl.keystore.location", Type: String, Null: true, Doc: "The key store for ZooKeeper."},
	{Name: "zookeeper.ssl.keystore.password", Type: Password, Null: true, Doc: "The password of the key store for ZooKeeper."},
	{Name: "zookeeper.ssl.keystore.type", Type: String, Null: true, Doc: "The format of the key store for ZooKeeper."},
	{Name: "zookeeper.ssl.truststore.location", Type: String, Null: true, Doc: "The trust store for ZooKeeper."},
	{Name: "zookeeper.ssl.truststore.password", Type: Password, Null: true, Doc: "The password of the trust store for ZooKeeper."},
	{Name: "zookeeper.ssl.truststore.type", Type: String, Null: true, Doc: "The format of the trust store for ZooKeeper."},
	{Name: "zookeeper.ssl.protocol", Type: String, Default: "TLSv1.2", Doc: "The TLS version to ZooKeeper."},
	{Name: "zookeeper.ssl.enabled.protocols", Type: List, Null: true, Doc: "The TLS versions that are accepted to ZooKeeper."},
	{Name: "zookeeper.ssl.cipher.suites", Type: List, Null: true, Doc: "The cipher suites that are accepted to ZooKeeper."},
	{Name: "zookeeper.ssl.endpoint.identification.algorithm", Type: String, Default: "HTTPS", Doc: "Whether the name in ZooKeeper's certificate is checked."},
	{Name: "zookeeper.ssl.crl.enable", Type: Boolean, Default: "false", Doc: "Whether revocation lists are consulted for ZooKeeper."},
	{Name: "zookeeper.ssl.ocsp.enable", Type: Boolean, Default: "false", Doc: "Whether revocation is asked for online for ZooKeeper."},
}

// brokerKeys holds every broker setting.
var brokerKeys = newKeySet(zooKeeperKeys, identityKeys, serverKeys, topicDefaultKeys, earlyFailoverKeys, logKeys, cleanerKeys, replicationKeys,
	coordinatorKeys, quotaKeys, securityKeys, tlsKeys, saslKeys, zooKeeperTLSKeys)
