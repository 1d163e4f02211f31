export function ExplorePage(_: { params: URLSearchParams }) { return null; }
