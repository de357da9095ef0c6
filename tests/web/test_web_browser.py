"""Chromium calls the server: from a page of another origin with a client from npm, and from the server's own page."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.expected_conditions import presence_of_element_located
from selenium.webdriver.support.ui import WebDriverWait
from serving import SECONDS, ServerProcess
from web.asking import Web, web_address

import qkv
from qkv_server.service.calls import METHODS

PAGE = Path(__file__).with_name("page")
PROGRAMS = ("chromium", "chromedriver", "npm")
X = [[0.5, 0.8, 0.2, 0.6], [0.7, 0.1, 0.9, 0.3], [0.4, 0.6, 0.3, 0.8]]

missing = [program for program in PROGRAMS if shutil.which(program) is None]
pytestmark = pytest.mark.skipif(
    bool(missing) and os.environ.get("CI") != "true",
    reason=f"no {', '.join(missing)} here; tests/web/install-chromium.sh",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):  # as root, in a container
        options.add_argument(argument)
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    driver = webdriver.Chrome(options, service)
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture(scope="module")
def page() -> Iterator[str]:
    """The origin of the page, built and served."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for step in (["ci", "--no-audit", "--no-fund"], ["run", "build"]):
        built = subprocess.run(["npm", *step], cwd=PAGE, env=environment, capture_output=True, text=True, check=False)  # noqa: S607 - whichever npm is here
        assert built.returncode == 0, built.stdout + built.stderr
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=PAGE)) as files:
        threading.Thread(target=files.serve_forever).start()
        yield f"http://127.0.0.1:{files.server_port}"
        files.shutdown()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def outcome(browser: webdriver.Chrome, page: str, server: str, protocol: str) -> Any:
    browser.get(f"{page}/?server={quote(f'http://{server}')}&protocol={quote(protocol)}")
    return WebDriverWait(browser, SECONDS).until(lambda shown: shown.execute_script("return window.outcome"))


@pytest.mark.parametrize("protocol", ["gRPC-Web", "Connect, binary", "Connect, JSON"])
def test_a_page_of_another_origin_calls_attend(
    protocol: str, browser: webdriver.Chrome, page: str, by_grpc: qkv.Client
) -> None:
    """With a client from npm a page gets the numbers that gRPC gives, and refusals with their details."""
    with ServerProcess(["--web-address", "127.0.0.1:0", "--cors-origin", page]) as server:
        found = outcome(browser, page, web_address(server), protocol)
    expected = by_grpc.attention(X, scale=1, outputs=["weights"])
    assert expected.weights is not None
    assert found["answer"]["output"] == expected.output.ravel().tolist()
    assert found["answer"]["weights"] == expected.weights.ravel().tolist()
    refusal = found["refusal"]
    details = {detail["type"]: bytes(detail["value"]) for detail in refusal["details"]}
    assert (refusal["code"], refusal["message"]) == ("InvalidArgument", "query: needed, expected a matrix or a tensor")
    assert ErrorInfo.FromString(details["google.rpc.ErrorInfo"]).reason == "INVALID_REQUEST"
    assert BadRequest.FromString(details["google.rpc.BadRequest"]).field_violations[0].field == "query"


def test_a_page_whose_origin_was_not_named_cannot_call(browser: webdriver.Chrome, page: str, web: Web) -> None:
    """The browser keeps the answer from a page of an origin that the server was not told."""
    assert "Failed to fetch" in outcome(browser, page, web.address, "gRPC-Web")["failure"]


def test_the_servers_page_shows_and_sends(browser: webdriver.Chrome, web: Web) -> None:
    """/docs shows each method with its fields, opens them, and sends its example; nothing comes from another host."""
    log_of(browser)
    browser.get(f"http://{web.address}/docs")
    for name in METHODS:
        section = found(browser, By.ID, f"AttentionService.{name}")
        section.find_element(By.TAG_NAME, "button").click()
        assert found(section, By.CSS_SELECTOR, "pre:not([hidden])").text.startswith("200\n")
        section.find_element(By.CSS_SELECTOR, "details > summary").click()
        assert found(section, By.CSS_SELECTOR, "details > .fields").is_displayed()
    loaded = browser.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert f"http://{web.address}/openapi.json" in loaded
    assert [name for name in loaded if not name.startswith(f"http://{web.address}/")] == []
    assert log_of(browser) == []


def test_the_servers_page_shows_an_answer_in_pieces(browser: webdriver.Chrome, models: Web) -> None:
    """/docs sends what is typed to a method that streams, and shows the lines that come, and what each may have."""
    browser.get(f"http://{models.address}/docs")
    section = found(browser, By.ID, "ModelService.Generate")
    question = section.find_element(By.TAG_NAME, "textarea")
    question.clear()
    question.send_keys('{"model": "llama", "prompt": "a", "maxTokens": 2}')
    section.find_element(By.TAG_NAME, "button").click()
    answer = found(section, By.CSS_SELECTOR, "pre:not([hidden])")
    WebDriverWait(browser, SECONDS).until(lambda _: "FINISH_REASON_LENGTH" in answer.text)
    status, *lines = answer.text.splitlines()
    assert status == "200"
    assert "finishReason" in json.loads(lines[-1])
    labels = [each.text for each in section.find_elements(By.CSS_SELECTOR, ".field code")]
    assert {"prompt", "finishReason", "usage"} <= set(labels)


def found(within: webdriver.Chrome | WebElement, by: str, what: str) -> WebElement:
    """An element, as soon as it is there."""
    return WebDriverWait(within, SECONDS).until(presence_of_element_located((by, what)))


def log_of(browser: webdriver.Chrome) -> Any:
    """What pages have complained of since the last look."""
    read: Any = browser.get_log
    return read("browser")
