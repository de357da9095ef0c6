#include "conformance/suite.h"

#include <fstream>
#include <stdexcept>

namespace {

constexpr int kFormat = 1;

Expected ReadExpected(const nlohmann::json& entry) {
  Expected expected;
  expected.tensor = entry.at("tensor");
  expected.matrix = entry.value("matrix", false);
  if (!expected.matrix) {
    const std::string name = entry.at("dataType");
    if (!qkv::v1::DataType_Parse(name, &expected.data_type)) throw std::runtime_error(name + ": no data type");
  }
  expected.shape = entry.at("shape").get<std::vector<std::int64_t>>();
  expected.absolute = entry.at("absolute");
  expected.relative = entry.at("relative");
  return expected;
}

ExpectedError ReadError(const nlohmann::json& entry) {
  return {entry.at("code"), entry.value("reason", ""), entry.value("fields", std::set<std::string>())};
}

Case ReadCase(const nlohmann::json& entry, const std::filesystem::path& directory) {
  Case vector;
  vector.name = entry.at("name");
  vector.method = entry.at("method");
  vector.request = entry.at("request");
  if (entry.contains("file")) vector.file = directory / entry.at("file").get<std::string>();
  vector.inputs = entry.value("inputs", vector.inputs);
  vector.timeout_seconds = entry.value("timeout_seconds", vector.timeout_seconds);
  if (entry.contains("error")) {
    vector.error = ReadError(entry.at("error"));
  } else {
    for (const auto& [field, expected] : entry.at("expected").items()) {
      vector.expected.emplace(field, ReadExpected(expected));
    }
  }
  return vector;
}

}  // namespace

std::vector<Case> ReadSuite(const std::filesystem::path& directory) {
  const std::filesystem::path path = directory / "manifest.json";
  std::ifstream file(path);
  if (!file) throw std::runtime_error(path.string() + ": cannot be read");
  const auto manifest = nlohmann::json::parse(file);
  if (manifest.at("format") != kFormat) {
    throw std::runtime_error(path.string() + ": format " + manifest.at("format").dump() + ", and this program reads " +
                             std::to_string(kFormat));
  }
  std::vector<Case> cases;
  for (const nlohmann::json& entry : manifest.at("cases")) cases.push_back(ReadCase(entry, directory));
  return cases;
}
