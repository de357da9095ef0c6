#include "options.h"

#include <cstdlib>
#include <exception>
#include <iostream>
#include <iterator>

namespace {

constexpr int kWrongUsage = 2;

const char kSharedUsage[] =
    R"(  TARGET                  host:port of the server; else the variable QKV_TARGET, else localhost:50051
  --timeout SECONDS       the deadline of a call (30)
  --tls                   TLS, trusting the system's authorities
  --ca FILE               TLS, trusting these authorities (PEM)
  --certificate FILE      the client's own certificate, for mutual TLS (PEM)
  --certificate-key FILE  its key (PEM)
  --server-name NAME      the name in the server's certificate, if it is not the target's
)";

const option kShared[] = {{"timeout", required_argument, nullptr, 0},
                          {"tls", no_argument, nullptr, 0},
                          {"ca", required_argument, nullptr, 0},
                          {"certificate", required_argument, nullptr, 0},
                          {"certificate-key", required_argument, nullptr, 0},
                          {"server-name", required_argument, nullptr, 0},
                          {"help", no_argument, nullptr, 0},
                          {}};

// Nothing: the command line asks for help.
std::optional<Options> Parse(const std::vector<option>& own, int argc, char** argv) {
  std::vector<option> known = own;
  known.insert(known.end(), std::begin(kShared), std::end(kShared));
  Options options;
  std::map<std::string, std::string>& given = options.given;
  for (int index = 0, result; (result = getopt_long(argc, argv, "", known.data(), &index)) != -1;) {
    if (result != 0) throw UsageError("unknown or incomplete option");  // getopt has said which
    given[known[index].name] = optarg == nullptr ? "" : optarg;
  }
  if (given.count("help") > 0) return std::nullopt;

  if (const char* target = std::getenv("QKV_TARGET")) options.target = target;
  if (optind < argc) options.target = argv[optind++];
  if (optind < argc) throw UsageError(std::string(argv[optind]) + ": one target is enough");
  options.timeout = NumberOf(options, "timeout", options.timeout);
  if (!(options.timeout > 0 && options.timeout < 1e9)) {
    throw UsageError("--timeout: expected a number of seconds above 0");
  }
  for (const char* name : {"tls", "ca", "certificate", "certificate-key", "server-name"}) {
    if (given.count(name) > 0) options.tls.emplace();
  }
  if (options.tls) *options.tls = {given["ca"], given["certificate"], given["certificate-key"], given["server-name"]};
  return options;
}

}  // namespace

int Main(const Program& program, int argc, char** argv) {
  const std::string usage = "usage: " + program.name + " [OPTION...] [TARGET]\n" + program.usage + kSharedUsage;
  try {
    if (const std::optional<Options> options = Parse(program.own, argc, argv)) return program.run(*options);
    std::cout << usage;
    return EXIT_SUCCESS;
  } catch (const UsageError& error) {
    std::cerr << program.name << ": " << error.what() << '\n' << usage;
    return kWrongUsage;
  } catch (const std::exception& error) {
    std::cerr << program.name << ": " << error.what() << '\n';
    return kFailed;
  }
}
