package qkv.example;

import io.grpc.ChannelCredentials;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.TlsChannelCredentials;
import java.io.File;
import java.io.IOException;
import java.util.Set;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** How a server is reached: the options and variables of the command line {@code qkv}, as a channel. */
public final class Connection {
    @Option(names = "--target", defaultValue = "${env:QKV_TARGET:-localhost:50051}", paramLabel = "HOST:PORT",
            description = "the server (default: ${DEFAULT-VALUE})")
    private String target;

    @Option(names = "--tls", description = "encrypt, trusting the authorities that Java trusts (QKV_TLS=1)")
    private boolean tls;

    @Option(names = "--ca", defaultValue = "${env:QKV_CA}", paramLabel = "PEM",
            description = "encrypt, trusting these authorities")
    private File ca;

    @Option(names = "--certificate", defaultValue = "${env:QKV_CERTIFICATE}", paramLabel = "PEM",
            description = "our certificate, for mutual TLS")
    private File certificate;

    @Option(names = "--certificate-key", defaultValue = "${env:QKV_CERTIFICATE_KEY}", paramLabel = "PEM",
            description = "the private key of the certificate, PKCS #8")
    private File certificateKey;

    @Option(names = "--server-name", defaultValue = "${env:QKV_SERVER_NAME}", paramLabel = "NAME",
            description = "the name in the server's certificate, if not the target's")
    private String serverName;

    @Spec(Spec.Target.MIXEE)
    private CommandSpec command;

    /** A channel to the target, which serves any number of calls and threads; to be shut down by the caller. */
    public ManagedChannel open() {
        try {
            var channel = Grpc.newChannelBuilder(target, credentials())
                    .maxInboundMessageSize(Integer.MAX_VALUE); // gRPC stops at 4 MiB; sizes are the server's to limit
            if (serverName != null) {
                channel.overrideAuthority(serverName);
            }
            return channel.build();
        } catch (IOException | RuntimeException exception) {
            throw new ParameterException(command.commandLine(), exception.getMessage(), exception);
        }
    }

    private ChannelCredentials credentials() throws IOException {
        boolean encrypt = tls || !Set.of("", "0").contains(System.getenv().getOrDefault("QKV_TLS", ""));
        if (!encrypt && ca == null && certificate == null && certificateKey == null && serverName == null) {
            return InsecureChannelCredentials.create();
        }
        if ((certificate == null) != (certificateKey == null)) {
            throw new IllegalArgumentException("--certificate and --certificate-key: both for mutual TLS, or none");
        }
        var credentials = TlsChannelCredentials.newBuilder();
        if (ca != null) {
            credentials.trustManager(ca);
        }
        if (certificate != null) {
            credentials.keyManager(certificate, certificateKey);
        }
        return credentials.build();
    }
}
