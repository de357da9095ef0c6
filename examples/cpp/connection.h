// How to reach a server: the target, transport security, and how long to wait.
#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>

// An empty path is a file that is not used.
struct Tls {
  std::string ca;               // PEM: the authorities to trust; empty: the system's
  std::string certificate;      // PEM: the client's own, for mutual TLS
  std::string certificate_key;  // PEM: its key
  std::string server_name;      // the name in the server's certificate; empty: that of the target
};

// A channel with TLS, or in plain text without. Throws std::runtime_error for a file that cannot be read.
std::shared_ptr<grpc::Channel> Connect(const std::string& target, const std::optional<Tls>& tls = std::nullopt);

// The deadline that is so many seconds away.
std::chrono::system_clock::time_point In(double seconds);
