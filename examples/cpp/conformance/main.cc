// Runs a suite of test vectors against a server; exit status 0 if there were any and all of them passed.
#include <getopt.h>

#include <cstdlib>
#include <exception>
#include <filesystem>
#include <iostream>
#include <map>
#include <string>

#include "conformance/comparison.h"
#include "conformance/request.h"
#include "conformance/safetensors.h"
#include "conformance/suite.h"
#include "connection.h"
#include "error_details.h"
#include "qkv/v1/attention.grpc.pb.h"

namespace {

using qkv::v1::AttentionService;

constexpr int kFailed = 1;
constexpr int kCouldNotRun = 2;

template <typename Request, typename Response>
using Method = grpc::Status (AttentionService::Stub::*)(grpc::ClientContext*, const Request&, Response*);

template <typename Request, typename Response>
Differences Run(AttentionService::Stub& stub, Method<Request, Response> method, const Case& vector) {
  const Arrays arrays = vector.file.empty() ? Arrays() : ReadSafetensors(vector.file);
  Request request;
  FillRequest(vector, arrays, request);
  grpc::ClientContext context;
  context.set_deadline(In(vector.timeout_seconds));
  Response response;
  const grpc::Status status = (stub.*method)(&context, request, &response);
  if (vector.error) return CompareError(*vector.error, status);
  if (!status.ok()) return {CodeName(status.error_code()) + ": " + status.error_message()};
  return CompareResponse(vector, arrays, response);
}

Differences Run(AttentionService::Stub& stub, const Case& vector) {
  try {
    if (vector.method == "Attend") return Run(stub, &AttentionService::Stub::Attend, vector);
    if (vector.method == "Differentiate") return Run(stub, &AttentionService::Stub::Differentiate, vector);
    if (vector.method == "Merge") return Run(stub, &AttentionService::Stub::Merge, vector);
    return {vector.method + ": no such method"};
  } catch (const std::exception& error) {
    return {error.what()};
  }
}

int Run(const std::string& target, const std::filesystem::path& directory) {
  const auto stub = AttentionService::NewStub(Connect(target));
  int passed = 0;
  int failed = 0;
  for (const Case& vector : ReadSuite(directory)) {
    const Differences differences = Run(*stub, vector);
    ++(differences.empty() ? passed : failed);
    if (differences.empty()) continue;
    std::cout << "FAILED " << vector.name;
    for (const std::string& difference : differences) std::cout << "; " << difference;
    std::cout << '\n';
  }
  std::cout << "cpp: " << passed << " passed, " << failed << " failed" << std::endl;
  return passed > 0 && failed == 0 ? EXIT_SUCCESS : kFailed;
}

}  // namespace

int main(int argc, char** argv) {
  const option known[] = {
      {"target", required_argument, nullptr, 't'}, {"vectors", required_argument, nullptr, 'v'}, {}};
  std::map<int, std::string> given;
  for (int letter; (letter = getopt_long(argc, argv, "", known, nullptr)) != -1;) given[letter] = optarg ? optarg : "";
  if (given.count('t') + given.count('v') != 2 || given.size() != 2 || optind != argc) {
    std::cerr << "usage: conformance --target HOST:PORT --vectors DIR\n";
    return kCouldNotRun;
  }
  try {
    return Run(given['t'], given['v']);
  } catch (const std::exception& error) {
    std::cerr << "conformance: " << error.what() << '\n';
    return kCouldNotRun;
  }
}
