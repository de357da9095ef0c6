// Package connection says how to reach a qkv server: the target and transport security.
package connection

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// DefaultTarget is what the variable QKV_TARGET says, else where a server is that was told nothing.
func DefaultTarget() string { return cmp.Or(os.Getenv("QKV_TARGET"), "localhost:50051") }

// TLS is transport security by PEM files. Its zero value is none: plain text.
type TLS struct {
	Enabled        bool   // encrypt, trusting the system's authorities; any of the others implies it
	CA             string // the authorities to trust instead
	Certificate    string // the client's own certificate, for mutual TLS
	CertificateKey string // its key
	ServerName     string // the name in the server's certificate, if it is not the target's
}

// AddFlags declares a flag for each field.
func (t *TLS) AddFlags(flags *flag.FlagSet) {
	flags.BoolVar(&t.Enabled, "tls", false, "encrypt, trusting the system's authorities")
	flags.StringVar(&t.CA, "ca", "", "encrypt, trusting the authorities of this PEM `file`")
	flags.StringVar(&t.Certificate, "certificate", "", "our certificate, a PEM `file`, for mutual TLS")
	flags.StringVar(&t.CertificateKey, "certificate-key", "", "the key of the certificate, a PEM `file`")
	flags.StringVar(&t.ServerName, "server-name", "", "the `name` in the server's certificate, if not the target's")
}

// Dial makes a connection to host:port or unix:/path. It is opened by the first call.
func Dial(target string, security TLS) (*grpc.ClientConn, error) {
	transport, err := security.credentials()
	if err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}
	return grpc.NewClient(target,
		grpc.WithTransportCredentials(transport),
		// How large an answer may be is for the server to limit; grpc-go alone would refuse more than 4 MiB.
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt)),
	)
}

func (t TLS) credentials() (credentials.TransportCredentials, error) {
	if t == (TLS{}) {
		return insecure.NewCredentials(), nil
	}
	config := &tls.Config{ServerName: t.ServerName}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s: no certificate in PEM", t.CA)
		}
	}
	if (t.Certificate == "") != (t.CertificateKey == "") {
		return nil, errors.New("certificate and key: expected both for mutual TLS, or none")
	}
	if t.Certificate != "" {
		pair, err := tls.LoadX509KeyPair(t.Certificate, t.CertificateKey)
		if err != nil {
			return nil, fmt.Errorf("certificate and key: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return credentials.NewTLS(config), nil
}
