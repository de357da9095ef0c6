#include "options.h"

#include <getopt.h>

#include <charconv>
#include <cstdlib>
#include <map>
#include <system_error>

const char kUsage[] = R"(usage: attend [OPTION...] [TARGET]
  TARGET                  host:port of the server; else the variable QKV_TARGET, else localhost:50051
  --heads N               attention heads; they divide the 4 features (2)
  --timeout SECONDS       the deadline of the call (30)
  --tls                   TLS, trusting the system's authorities
  --ca FILE               TLS, trusting these authorities (PEM)
  --certificate FILE      the client's own certificate, for mutual TLS (PEM)
  --certificate-key FILE  its key (PEM)
  --server-name NAME      the name in the server's certificate, if it is not the target's
)";

namespace {

template <typename Number>
Number Parse(const std::string& name, const std::string& text) {
  Number number{};
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || rest != end) throw UsageError("--" + name + " " + text + ": expected a number");
  return number;
}

}  // namespace

Options ParseOptions(int argc, char** argv) {
  const option known[] = {{"heads", required_argument, nullptr, 0},
                          {"timeout", required_argument, nullptr, 0},
                          {"tls", no_argument, nullptr, 0},
                          {"ca", required_argument, nullptr, 0},
                          {"certificate", required_argument, nullptr, 0},
                          {"certificate-key", required_argument, nullptr, 0},
                          {"server-name", required_argument, nullptr, 0},
                          {"help", no_argument, nullptr, 0},
                          {}};
  std::map<std::string, std::string> given;
  for (int index = 0, result; (result = getopt_long(argc, argv, "", known, &index)) != -1;) {
    if (result != 0) throw UsageError("unknown or incomplete option");  // getopt has said which
    given[known[index].name] = optarg == nullptr ? "" : optarg;
  }

  Options options;
  if (const char* target = std::getenv("QKV_TARGET")) options.target = target;
  if (optind < argc) options.target = argv[optind++];
  if (optind < argc) throw UsageError(std::string(argv[optind]) + ": one target is enough");
  if (given.count("heads") > 0) options.heads = Parse<unsigned>("heads", given["heads"]);
  if (given.count("timeout") > 0) options.timeout = Parse<double>("timeout", given["timeout"]);
  if (!(options.timeout > 0 && options.timeout < 1e9))
    throw UsageError("--timeout: expected a number of seconds above 0");
  for (const char* name : {"tls", "ca", "certificate", "certificate-key", "server-name"}) {
    if (given.count(name) > 0) options.tls.emplace();
  }
  if (options.tls) *options.tls = {given["ca"], given["certificate"], given["certificate-key"], given["server-name"]};
  options.help = given.count("help") > 0;
  return options;
}
