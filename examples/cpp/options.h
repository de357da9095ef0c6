// What the command lines of the examples share: where to call, how long to wait, transport security.
#pragma once

#include <getopt.h>

#include <charconv>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "connection.h"

struct Options {
  std::string target = "localhost:50051";
  double timeout = 30;                       // seconds
  std::optional<Tls> tls;                    // nothing: plain text
  std::map<std::string, std::string> given;  // all that were given, the program's own too; without a value: ""
};

struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A program: the lines of its usage text about its own options, these options, and what it does, to an exit status.
struct Program {
  std::string name;
  std::string usage;
  std::vector<option> own;
  int (*run)(const Options&);
};

constexpr int kFailed = 1;

// Runs a program with a command line; its exit status, kFailed for an exception, 2 for a wrong command line.
int Main(const Program& program, int argc, char** argv);

// The value of an option, or another if it was not given. Throws UsageError.
template <typename Number>
Number NumberOf(const Options& options, const std::string& name, Number otherwise) {
  const auto found = options.given.find(name);
  if (found == options.given.end()) return otherwise;
  const std::string& text = found->second;
  Number number{};
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || rest != text.data() + text.size()) {
    throw UsageError("--" + name + " " + text + ": expected a number");
  }
  return number;
}
