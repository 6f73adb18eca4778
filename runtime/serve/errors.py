"""OpenAI's error object, which its clients turn into exceptions of their own."""

from collections.abc import Mapping

from starlette.responses import JSONResponse

# How OpenAI names the kinds of errors of a status; the rest of 4xx is an invalid request.
TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class ApiError(Exception):
    """A request that is not answered: HTTP `status`, what is wrong, `param` (where) and OpenAI's `code`."""

    def __init__(
        self,
        status: int,
        message: str,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.headers = headers

    def body(self) -> dict[str, dict[str, str | None]]:
        """{"error": {"message", "type", "param", "code"}}."""
        usual = "server_error" if self.status >= 500 else "invalid_request_error"
        fields = {
            "message": self.message,
            "type": TYPES.get(self.status, usual),
            "param": self.param,
            "code": self.code,
        }
        return {"error": fields}

    def response(self) -> JSONResponse:
        """The error as it goes over the wire."""
        return JSONResponse(self.body(), self.status, self.headers)
