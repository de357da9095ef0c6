#include "connection.h"

#include <fstream>
#include <sstream>
#include <stdexcept>

namespace {

std::string ReadFile(const std::string& path) {
  if (path.empty()) return "";
  std::ifstream file(path, std::ios::binary);
  std::ostringstream content;
  if (!file || !(content << file.rdbuf())) throw std::runtime_error(path + ": cannot be read");
  return content.str();
}

}  // namespace

std::shared_ptr<grpc::Channel> Connect(const std::string& target, const std::optional<Tls>& tls) {
  grpc::ChannelArguments arguments;
  // gRPC's own limit is 4 MiB; how large an answer may be is the server's to say.
  arguments.SetMaxReceiveMessageSize(-1);
  if (!tls) return grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), arguments);

  if (tls->certificate.empty() != tls->certificate_key.empty()) {
    throw std::runtime_error("certificate and key: expected both for mutual TLS, or none");
  }
  grpc::SslCredentialsOptions files;
  files.pem_root_certs = ReadFile(tls->ca);
  files.pem_cert_chain = ReadFile(tls->certificate);
  files.pem_private_key = ReadFile(tls->certificate_key);
  if (!tls->server_name.empty()) arguments.SetSslTargetNameOverride(tls->server_name);
  return grpc::CreateCustomChannel(target, grpc::SslCredentials(files), arguments);
}

std::chrono::system_clock::time_point In(double seconds) {
  using std::chrono::system_clock;
  return system_clock::now() +
         std::chrono::duration_cast<system_clock::duration>(std::chrono::duration<double>(seconds));
}
