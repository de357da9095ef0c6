// The command line of `attend`.
#pragma once

#include <optional>
#include <stdexcept>
#include <string>

#include "connection.h"

extern const char kUsage[];

struct Options {
  std::string target = "localhost:50051";
  unsigned heads = 2;
  double timeout = 30;     // seconds
  std::optional<Tls> tls;  // nothing: plain text
  bool help = false;
};

struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Throws UsageError.
Options ParseOptions(int argc, char** argv);
