// A suite of test vectors, as `qkv vectors` writes it: manifest.json, and safetensors files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "qkv/v1/tensor.pb.h"

// One operand of the answer. An element passes where |answer − expected| <= absolute + relative·|expected|.
struct Expected {
  std::string tensor;  // its name in the file
  bool matrix = false;
  qkv::v1::DataType data_type = qkv::v1::DATA_TYPE_UNSPECIFIED;  // of a tensor
  std::vector<std::int64_t> shape;
  double absolute = 0;
  double relative = 0;
};

struct ExpectedError {
  std::string code;              // of the gRPC status
  std::string reason;            // of google.rpc.ErrorInfo; empty: none
  std::set<std::string> fields;  // of google.rpc.BadRequest
};

struct Case {
  std::string name;
  std::string method;                         // of qkv.v1.AttentionService
  nlohmann::json request;                     // in proto3 JSON, without the tensors
  std::filesystem::path file;                 // safetensors; empty: no tensors
  std::map<std::string, std::string> inputs;  // path of an operand in the request -> name of its tensor
  std::map<std::string, Expected> expected;   // field of the response -> what it must be
  std::optional<ExpectedError> error;         // instead of an answer
  double timeout_seconds = 30;
};

// Throws std::runtime_error for a suite of another format, or one that cannot be read.
std::vector<Case> ReadSuite(const std::filesystem::path& directory);
